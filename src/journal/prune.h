/* SPDX-License-Identifier: MIT
 * Taking the oldest records away (prune_run() is in internal.h). */
#ifndef SBX_JOURNAL_PRUNE_H
#define SBX_JOURNAL_PRUNE_H

#include "journal/internal.h"

/* The keeper: prunes by the options if the last time, of any process, is long enough ago. */
void prune_if_due(struct journal *journal);

#endif
