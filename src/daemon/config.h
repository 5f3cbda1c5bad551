/* SPDX-License-Identifier: MIT
 * The configuration: sandbox.yaml, what the command line says over it, and what the command
 * brings along (secrets, certificates, listening descriptors). One table of keys; parsed in
 * the engine only (and, to know what to open, in a process without rights of its own,
 * cli/config_file.c), by the parsers of src/policy/. Plain data; any thread. */
#ifndef SBX_DAEMON_CONFIG_H
#define SBX_DAEMON_CONFIG_H

#include <jansson.h>

#include "daemon/broker.h"
#include "policy/policy.h"

#define CONFIG_TOKENS_MAX 64u
#define CONFIG_TEMPLATES_MAX 14u /* an engine holds 15 at a time */
#define CONFIG_DOORS_MAX 8u
#define CONFIG_SECRET_MIN 32u /* characters */
#define CONFIG_SECRET_MAX 512u
#define CONFIG_FRAME_MAX (4u << 20)

enum config_durability { CONFIG_NORMAL, CONFIG_FULL };

struct config_token {
	char *name;
	char *file;                  /* as configured; NULL: not of the file */
	char *secret;                /* NULL until the command has brought it */
	bool owner;                  /* sees and ends everybody's runs */
	struct sbx_policy *ceilings; /* NULL: none but the configuration's */
};

struct config_template {
	char *name, *python; /* python "": the default */
	struct policy_list preload;
};

struct config_door {
	char *name, *address;
	bool open; /* no token needed */
};

enum config_listener_kind { CONFIG_UNIX, CONFIG_TCP, CONFIG_DOOR };

struct config_listener {
	int fd; /* ROLE_LISTENERS_FD and on */
	enum config_listener_kind kind;
	bool open, tls;
	char door[32];  /* CONFIG_DOOR: which */
	char host[280]; /* "127.0.0.1:5000": what Host may say; "" on a unix socket */
};

/* All memory is owned by the struct: config_init, config_clear. */
struct config {
	bool set; /* by config_from_frame(); false: the defaults of an engine that got none */
	/* of the file and the command line */
	struct policy_list listen;
	char *socket, *socket_group; /* "": the default; nobody */
	char *tls_certificate, *tls_key;
	struct policy_list hosts, origins;
	struct policy_list grantable_directories;
	struct sbx_policy defaults, ceilings;
	struct config_token *tokens;
	size_t token_count;
	struct config_template *templates;
	size_t template_count;
	struct config_door *doors;
	size_t door_count;
	int64_t admission_executions,
		admission_queue;     /* executions 0: as the machine has */
	int64_t admission_memory_mb; /* 0: as the machine has */
	int64_t sessions_max, sessions_idle_timeout;
	char *journal_dir, *journal_key; /* "": the default one; inside the directory */
	bool journal_off;                /* `journal: false` */
	bool journal_required;
	int journal_durability; /* enum config_durability */
	int64_t journal_keep_days, journal_keep_mb;
	struct policy_list journal_forward;
	struct policy_list redact;
	int log_level; /* enum log_level of daemon/log.h */
	/* brought by the command */
	struct config_listener listeners[ROLE_LISTENERS_MAX];
	size_t listener_count;
	char *certificate, *key; /* PEM; NULL without TLS */
	char *journal_error;     /* why its directory could not be opened, or NULL */
};

enum config_type {
	CONFIG_INT,    /* int64_t */
	CONFIG_BOOL,   /* bool */
	CONFIG_STRING, /* char * */
	CONFIG_CHOICE, /* int */
	CONFIG_LIST,   /* struct policy_list */
	CONFIG_POLICY, /* struct sbx_policy */
	CONFIG_PARTS,  /* by parse() */
};

struct config_field {
	const char *name; /* with its section: "journal.dir" */
	enum config_type type;
	size_t offset;
	double min, max; /* number; length of a string; items of a list */
	const char *const *choices;
	const char *unit;
	const char *meaning, *meaning_zh;
	const char *example; /* YAML for the commented file; NULL: the default */
	bool restart;        /* a change takes a restart */
	int (*check)(const char *item, struct sbx_err *err); /* item or string, or NULL */
	int (*parse)(struct config *config, const json_t *value, const json_t *lines,
		     struct sbx_err *err); /* CONFIG_PARTS */
};
extern const struct config_field config_fields[];
extern const size_t config_field_count;

void config_init(struct config *config);  /* the defaults; aborts on no memory */
void config_clear(struct config *config); /* takes a zeroed one */

/* The text of a sandbox.yaml (or the same in JSON) over *config: all of it or, on failure,
 * nothing. -EINVAL, stage USAGE or POLICY, the line in the message and the key in err.field;
 * -ENOMEM. */
int config_set_document(struct config *config, const char *text, size_t len,
			struct sbx_err *err);
/* The same from a tree. lines: of policy_document(), or NULL. */
int config_set_object(struct config *config, const json_t *object, const json_t *lines,
		      struct sbx_err *err);
/* What holds between keys. */
int config_check(const struct config *config, struct sbx_err *err);
/* Whether a document that parses is a configuration rather than a policy: by its first key
 * that is in one of the two tables only. */
bool config_looks_like(const json_t *object);

/* DOOR_CONFIG's payload: {"file": text or null, "options": an object of the same keys over
 * it, "tokens": [{"name", "token"}], "tls": {"certificate", "key"} (PEM), "listeners":
 * [{"fd", "kind": "unix"|"tcp"|"door", "door", "open", "tls", "host"}]}. Makes *ret, which
 * the caller clears; untouched on failure. Every token has its secret then. */
int config_from_frame(const char *data, size_t len, struct config *ret,
		      struct sbx_err *err);
/* What the command has to open and to tell: {"listen": [..], "socket", "socket_group", "tls":
 * {"certificate", "key"}, "tokens": [{"name", "file"}], "journal": {"dir", "key"},
 * "grantable": [..], "pythons": [..], "doors": [{"name", "address", "open"}]}, all texts but
 * the last. New reference; NULL: no memory. */
json_t *config_plan(const struct config *config);
/* The keys that differ and take a restart, as one text ("" if none); malloc, NULL: no
 * memory. */
char *config_restart_keys(const struct config *now, const struct config *next);

/* Sets its interpreter and preloads. 0, -ENOENT, -ENOMEM. */
int config_set_template(const struct config *config, const char *name,
			struct sbx_policy *policy);

/* ADDRESS:PORT, as in 127.0.0.1:5000, [::1]:5000 or localhost:0. */
struct config_address {
	char host[64]; /* as inet_pton(3) reads it */
	int family, port;
	unsigned char bytes[16];
	bool loopback;
};
int config_address(const char *text, struct config_address *ret); /* 0, -EINVAL */
int config_port(const char *text); /* 0 to 65535, or -EINVAL */

/* docs/configuration.md and deploy/sandbox.yaml; malloc. 0, -ENOMEM. */
int config_to_markdown(char **ret_text);
int config_to_yaml(char **ret_text);

#endif
