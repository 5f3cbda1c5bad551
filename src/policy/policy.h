/* SPDX-License-Identifier: MIT
 * The policy: one plain struct and one field table (policy_fields). Parsing (JSON, YAML,
 * key=value), validation, ceilings, printing and docs/policy.md are all derived from the
 * table. Engine and command; never the broker. */
#ifndef SBX_POLICY_POLICY_H
#define SBX_POLICY_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sbx.h"

enum policy_type {
	POLICY_INT,    /* int64_t */
	POLICY_NUMBER, /* double */
	POLICY_BOOL,   /* bool */
	POLICY_STRING, /* char *, owned */
	POLICY_LIST,   /* struct policy_list of strings */
	POLICY_MAP, /* struct policy_list of "KEY=VALUE" strings, sorted by key, keys unique */
	POLICY_CHOICE, /* int, index into choices */
};

struct policy_list {
	size_t count;
	char **items;
};

enum policy_degraded { POLICY_REFUSE = 0, POLICY_ALLOW = 1 };

/* All memory is owned by the struct: policy_init, policy_copy, policy_clear. */
struct sbx_policy {
	int64_t max_memory_mb;
	double max_cpu_percent;
	double max_cpu_time;       /* seconds, 0 = none */
	double max_execution_time; /* seconds */
	int64_t max_processes;
	int64_t max_output_bytes;
	int64_t max_disk_mb;
	int64_t max_open_files;
	bool allow_file_operations;
	struct policy_list allowed_directories;
	bool network_access;
	struct policy_list allowed_hosts;
	bool allow_imports;
	struct policy_list allowed_modules;
	bool allow_subprocess;
	struct policy_list
		preload; /* a name that ends in '?' is skipped where it is not installed */
	char *python;    /* "" until resolved: the default interpreter */
	struct policy_list environment;
	int degraded; /* enum policy_degraded */
};

struct policy_field {
	const char *name;
	enum policy_type type;
	size_t offset;
	double min, max; /* numbers; list and map: count; string: length; inclusive */
	const char *const *choices; /* POLICY_CHOICE, NULL-terminated */
	const char *unit;           /* "MiB", "s", "%", "bytes", "" */
	const char *meaning;        /* one sentence, English */
	const char *meaning_zh;     /* one sentence, Chinese */
	bool ignored; /* accepted for the first version's sake (check_interval) */
	/* more validation of one list item or string: 0, or -EINVAL with err filled;
	 * NULL: none */
	int (*check)(const char *item, struct sbx_err *err);
	/* how a ceiling compares: +1 larger is more permissive (numbers, false<true,
	 * lists as sets),
	 * -1 smaller is, 0 not subject to ceilings */
	int permissive;
	/* POLICY_NUMBER: 0 is taken beside min..max and means that there is no such
	 * limit, the widest of all */
	bool zero_is_none;
	/* lists: whether an item of a ceiling contains an item that is asked for; NULL:
	 * when they are equal */
	bool (*covers)(const char *ceiling, const char *asked);
};

extern const struct policy_field policy_fields[];
extern const size_t policy_field_count;
const struct policy_field *policy_field_find(
	const char *name); /* NULL where there is none */

/* Bounds of one document and of what a policy can hold, beside the table's; why, in
 * check.c. */
#define POLICY_DOCUMENT_MAX (1u << 20)
#define POLICY_DEPTH_MAX 8
#define POLICY_PRELOAD_BYTES 3072u          /* names and their NULs together */
#define POLICY_ENVIRONMENT_BYTES (1u << 20) /* KEY=VALUE and their NULs together */

void policy_init(struct sbx_policy
			 *policy); /* the defaults = preset strict; aborts on no memory */
/* What a ceiling starts from: nothing is above it. Not meant to be run with. Aborts on no
 * memory. */
void policy_widest(struct sbx_policy *policy);
int policy_copy(struct sbx_policy *ret,
		const struct sbx_policy *from); /* 0, -ENOMEM; *ret need not be set */
void policy_clear(
	struct sbx_policy *policy); /* takes a zeroed one, and one that was cleared */

/* Presets by name: "strict", "data", "open". Replaces *policy. -ENOENT (stage POLICY) for
 * others. */
int policy_preset(struct sbx_policy *policy, const char *name, struct sbx_err *err);
const char *policy_preset_name(size_t i);    /* NULL past the last */
const char *policy_preset_meaning(size_t i); /* English */
const char *policy_preset_meaning_zh(size_t i);

/* Set one field from JSON. Wrong type, out of range, unknown field: -EINVAL, stage
 * POLICY, err.field set, a message that says what was expected, and for an unknown name
 * the nearest known one. */
int policy_set_json(struct sbx_policy *policy, const char *field, const json_t *value,
		    struct sbx_err *err);
/* From text as on the command line: JSON where it parses as JSON, else a string; commas
 * make a list where the field is one; KEY=VALUE pairs where it is a map. */
int policy_set_text(struct sbx_policy *policy, const char *field, const char *text,
		    struct sbx_err *err);
/* A JSON object of fields, optionally with "preset": NAME as its first key, which
 * replaces the whole policy. All of it or, on failure, nothing is set. */
int policy_set_object(struct sbx_policy *policy, const json_t *object,
		      struct sbx_err *err);
/* JSON or YAML text (read as JSON when it starts with '{'); the top is a mapping of
 * fields, optionally with `preset: NAME` first of all; an empty document sets nothing. At
 * most 1 MiB, depth 8, no aliases, anchors or tags, no duplicate keys. All or nothing, as
 * above. */
int policy_set_document(struct sbx_policy *policy, const char *text, size_t len,
			struct sbx_err *err);
/* YAML to the same tree as JSON (used for sandbox.yaml too). An empty document is null.
 * Plain scalars are typed by the core schema of YAML 1.2. *ret is a new reference. */
int policy_yaml_to_json(const char *text, size_t len, json_t **ret, struct sbx_err *err);

/* A document's tree and its lines, new references; an empty document is null. *ret_lines
 * may become NULL (JSON that is no YAML), which all that take lines take, too. */
int policy_document(const char *text, size_t len, json_t **ret, json_t **ret_lines,
		    struct sbx_err *err);
const json_t *policy_lines_in(const json_t *lines, const char *key); /* of a mapping */
const json_t *policy_lines_at(const json_t *lines, size_t i);        /* of a list */
/* Puts "line N: " before err's message, unless it names one. Returns -errnum. */
int policy_at_line(const json_t *lines, struct sbx_err *err);
/* policy_set_object() with the lines of the object's keys in its messages. */
int policy_set_lines(struct sbx_policy *policy, const json_t *object, const json_t *lines,
		     struct sbx_err *err);

/* What holds between fields, after the last set: e.g. every grant is well formed. */
int policy_check(const struct sbx_policy *policy, struct sbx_err *err);
/* asked <= ceiling in every field, else -EPERM, stage CEILING, field named. Both are
 * checked ones. What has no effect is not compared: allowed_hosts without network_access,
 * allowed_modules without allow_imports. Directories are compared as text: symbolic links
 * can lead out of a ceiling, so the engine compares what they resolve to. */
int policy_within(const struct sbx_policy *asked, const struct sbx_policy *ceiling,
		  struct sbx_err *err);

/* The nearest of the names (fn(i) until NULL), or NULL if none is near. */
const char *policy_nearest(const char *name, const char *(*fn)(size_t i));

json_t *policy_to_json(const struct sbx_policy *policy); /* every field; new reference */
/* For results and the journal: environment values replaced by "***". */
json_t *policy_to_json_redacted(const struct sbx_policy *policy);
int policy_to_yaml(const struct sbx_policy *policy,
		   char **ret_text); /* with meanings as comments; malloc */
int policy_to_markdown(
	char **ret_text); /* the text of docs/policy.md; malloc. 0, -ENOMEM */

/* One granted directory, "PATH", "PATH:ro" or "PATH:rw". */
struct policy_grant {
	char path[4096];
	bool writable;
};
int policy_grant_parse(const char *item, struct policy_grant *ret, struct sbx_err *err);
#define POLICY_GRANTS_MAX 64u
/* The path that it names for a caller in cwd (absolute, or NULL: none). */
int policy_grant_join(const struct policy_grant *grant, const char *cwd, char ret[4096],
		      struct sbx_err *err);
/* Whether the real path is one that a jail can have beside its own. 0 or -errno. */
int policy_grant_place(const char *real, struct sbx_err *err);
/* Whether named leads to real without symbolic links. 0 or -errno. */
int policy_grant_links(const char *named, const char *real, struct sbx_err *err);
/* "... cannot be granted". -errnum. */
int policy_grant_refused(const char *named, int errnum, struct sbx_err *err);

/* By components; the root contains relative ones. */
bool policy_path_within(const char *path, const char *above);

/* One allowed host. A name (or suffix) stands for the public addresses that it resolves
 * to; others need a NET item, or the name localhost, which is loopback. Who dials
 * resolves once, checks the address and dials that address. */
enum policy_host_kind {
	POLICY_HOST_ANY,    /* "*": every public address */
	POLICY_HOST_NAME,   /* "host" */
	POLICY_HOST_SUFFIX, /* "*.host": every name below it, not itself */
	POLICY_HOST_NET,    /* an address or CIDR block */
};
struct policy_host {
	enum policy_host_kind kind;
	char name[254]; /* NAME, SUFFIX (without "*."): lower case */
	int family;     /* NET: AF_INET or AF_INET6 */
	uint8_t addr[16];
	unsigned prefix;
	uint16_t port; /* 0: any */
};
int policy_host_parse(const char *item, struct policy_host *ret,
		      struct sbx_err *err); /* 0, -EINVAL */
/* Whether every address of a NET is public: not loopback, link-local, private, shared,
 * multicast, reserved or the metadata service of a cloud. An IPv4-mapped address is to be
 * given as IPv4. */
bool policy_host_public(const struct policy_host *net);

/* A set of module names with "*" meaning all. Dotted names, on both sides, count as their
 * top-level part. */
bool policy_module_allowed(const struct sbx_policy *policy, const char *module);

#endif
