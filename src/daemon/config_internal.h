/* SPDX-License-Identifier: MIT
 * What the files of the configuration share: config.c (life, keys, documents),
 * config_table.c (the table), config_frame.c (what the command brings). */
#ifndef SBX_DAEMON_CONFIG_INTERNAL_H
#define SBX_DAEMON_CONFIG_INTERNAL_H

#include "daemon/config.h"

static inline void config_decrefp(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(config_decrefp)))

int config_no_memory(struct sbx_err *err);
/* A value of the wrong type: says what was expected, and the line. -EINVAL. */
int config_wrong(const char *name, const char *expected, const json_t *value,
		 const json_t *lines, struct sbx_err *err);
/* An object with no other keys than these. */
int config_check_keys(const char *what, const json_t *object, const char *const *known,
		      const json_t *lines, struct sbx_err *err);
bool config_is_text(const json_t *value, size_t max); /* as C has it: without NUL */
bool config_is_name(const json_t *value);
int config_replace(char **at, const char *text, struct sbx_err *err); /* copies */
void config_secret_free(char **secret); /* wipes; sets NULL, takes a pointer to NULL */
bool config_list_same(const struct policy_list *a, const struct policy_list *b);

int config_parse_tokens(struct config *config, const json_t *value, const json_t *lines,
			struct sbx_err *err);
int config_parse_templates(struct config *config, const json_t *value,
			   const json_t *lines, struct sbx_err *err);
int config_parse_doors(struct config *config, const json_t *value, const json_t *lines,
		       struct sbx_err *err);

#endif
