/* SPDX-License-Identifier: MIT
 * Opening a journal whose machine may have stopped (recover.c). */
#ifndef SBX_JOURNAL_RECOVER_H
#define SBX_JOURNAL_RECOVER_H

#include "journal/rows.h"

/* In the transaction of journal_open(). */
int recover_objects(struct rows *rows, struct sbx_err *err);

#endif
