/* SPDX-License-Identifier: MIT
 * What the files of src/policy share. Not for other directories. */
#ifndef SBX_POLICY_INTERNAL_H
#define SBX_POLICY_INTERNAL_H

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "policy/policy.h"

static inline int policy_no_memory(struct sbx_err *err)
{
	return err_set(err, SBX_AT_ENGINE, ENOMEM, "policy");
}

/* ---- text.c ---- */
/* Decodes one code point of a NUL-terminated text and moves on; -1 at a byte that is not
 * UTF-8 (moves by one). */
int32_t policy_utf8_next(const char **text);
bool policy_utf8_valid(const char *text);
/* Whether a code point may be shown as it is: no control, no space but U+0020, nothing
 * that turns or hides text. */
bool policy_codepoint_shown(int32_t c);
/* In double quotes, as YAML reads it; what may not be shown is escaped. 0, -ENOMEM. */
int policy_quote(struct buf *b, const char *text);
/* The same for a message: at most about 60 bytes of it. Returns ret. */
#define POLICY_SHOWN 80
const char *policy_shown(const char *text, char ret[POLICY_SHOWN]);
/* Foreign text within a message, without quotes. */
const char *policy_shown_plain(const char *text, char *ret, size_t size);

/* ---- item.c: struct policy_field.check and .covers ---- */
int policy_item_directory(const char *item, struct sbx_err *err);
int policy_item_host(const char *item, struct sbx_err *err);
int policy_item_module(const char *item, struct sbx_err *err);
int policy_item_preload(const char *item, struct sbx_err *err);
int policy_item_python(const char *item, struct sbx_err *err);
int policy_item_variable(const char *item, struct sbx_err *err);
bool policy_covers_directory(const char *ceiling, const char *asked);
bool policy_covers_host(const char *ceiling, const char *asked);
bool policy_covers_module(const char *ceiling, const char *asked);

/* ---- table.c ---- */
void policy_list_clear(struct policy_list *list);
int policy_list_add(struct policy_list *list, const char *item); /* copies; 0, -ENOMEM */

/* ---- check.c ---- */
/* A number against its field's range; shown is the text of the value for the message. */
int policy_check_number(const struct policy_field *field, double value, const char *shown,
			struct sbx_err *err);
int policy_check_string(const struct policy_field *field, const char *text,
			struct sbx_err *err);
int policy_check_count(const struct policy_field *field, size_t count,
		       struct sbx_err *err);
/* "from 1 to 64 (MiB)" and its kin. Returns ret. */
const char *policy_range(const struct policy_field *field, char ret[96]);

/* ---- print.c ---- */
/* A field's value on one line, as YAML. 0, -ENOMEM. */
int policy_value_text(struct buf *b, const struct policy_field *field,
		      const struct sbx_policy *policy);

/* ---- yaml.c ---- */
/* A plain scalar by the core schema of YAML 1.2. NULL with *why set where it has no value
 * in JSON. New reference. */
json_t *policy_plain_scalar(const char *text, size_t len, const char **why);

static inline void *policy_at(struct sbx_policy *policy, const struct policy_field *field)
{
	return (char *)policy + field->offset;
}
static inline const void *policy_at_const(const struct sbx_policy *policy,
					  const struct policy_field *field)
{
	return (const char *)policy + field->offset;
}

static inline void policy_decrefp(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(policy_decrefp)))

#endif
