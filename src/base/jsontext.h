/* SPDX-License-Identifier: MIT
 * A JSON tree as text. As json_dumps(3) of jansson, but a number is written with as few
 * digits as bring back the same double (0.1, not 0.10000000000000001). Any process. */
#ifndef SBX_BASE_JSONTEXT_H
#define SBX_BASE_JSONTEXT_H

#include <jansson.h>

#include "base/buf.h"

int jsontext_add(
	struct buf *out,
	const json_t *value); /* compact; 0, -ENOMEM, -EMSGSIZE over the buffer's max */
/* malloc'ed and NUL-terminated; NULL: no memory. *ret_len may be NULL. */
char *jsontext(const json_t *value, size_t *ret_len);

#endif
