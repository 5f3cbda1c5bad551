/* SPDX-License-Identifier: MIT
 *
 * libsbx: run Python that you do not trust, behind walls that the kernel keeps.
 *
 * The life of a sandbox
 * ---------------------
 *	struct sbx *box;
 *	struct sbx_result *res;
 *	struct sbx_err err;
 *
 *	sbx_open(&box, &(struct sbx_options){ 0 }, &err);	starts broker and engine
 *	sbx_run(box, &(struct sbx_request){ .code = "1 + 1", .code_len = 5 }, &res, &err);
 *	puts(sbx_result_json(res));				one JSON object, docs/api.md
 *	sbx_result_free(res);
 *	sbx_close(box);						ends every process that it started
 *
 * sbx_open() starts two processes: the broker, which keeps the privilege that the caller has, and the
 * engine, which has none. Each sbx_run() takes a fresh, fully walled CPython from a pool, runs the program
 * in it once and ends it. A struct sbx may be used by one thread at a time; several may be open at once.
 *
 * Functions return 0 or -errno, and fill *err when it is not NULL. ret_ arguments are untouched on failure.
 */
#ifndef SBX_H
#define SBX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a call failed. One table (src/base/err.c) maps each to an exit code, an HTTP
 * status and a Python exception. The numbers are part of the interface. */
enum sbx_stage {
	SBX_AT_NONE = 0,
	SBX_AT_USAGE = 1,   /* the call itself is malformed */
	SBX_AT_POLICY = 2,  /* unknown field, wrong type, out of range */
	SBX_AT_CEILING = 3, /* more than the operator allows */
	SBX_AT_GRANT = 4,   /* a directory of the policy cannot be given */
	SBX_AT_INTERPRETER =
		5, /* the python of the policy is missing, too old or does not start */
	SBX_AT_WALL =
		6, /* a wall or limit cannot stand here and may not be missing (WallMissing) */
	SBX_AT_JAIL = 7,    /* making the jail failed */
	SBX_AT_ZYGOTE = 8,  /* making the template or forking from it failed */
	SBX_AT_WORKER = 9,  /* the worker failed before the program's first instruction */
	SBX_AT_ENGINE = 10, /* our own failure elsewhere */
	SBX_AT_BUSY = 11,   /* the queue is full */
	SBX_AT_JOURNAL = 12, /* the run cannot be recorded and has to be */
};

/* Fixed size: it crosses every pipe of ours unchanged. msg is NUL-terminated, printable
 * UTF-8. */
struct sbx_err {
	int32_t stage;  /* enum sbx_stage */
	int32_t errnum; /* positive errno, 0 if none applies */
	char field[40]; /* policy field at fault, or "" */
	char msg[464];
};

enum sbx_status {
	SBX_OK = 0,
	SBX_ERROR,     /* the program raised, exited non-zero or died of a signal */
	SBX_TIMEOUT,   /* max_execution_time */
	SBX_MEMORY,    /* max_memory_mb */
	SBX_CPU,       /* max_cpu_time */
	SBX_PROCESSES, /* max_processes */
	SBX_OUTPUT,    /* 64 times max_output_bytes */
	SBX_DISK,      /* max_disk_mb */
	SBX_DENIED,    /* ended by the exception of a denied operation */
	SBX_KILLED,    /* someone stopped it */
	SBX_FAULT,     /* our failure, never the program's */
};

const char *sbx_status_name(enum sbx_status status);
int sbx_status_exit_code(enum sbx_status status); /* 0, 1, 3, 4, 125 or 137 */

struct sbx;
struct sbx_result;

struct sbx_options {
	const char *binary; /* the sandbox command; NULL: this executable's own file */
	unsigned flags;     /* none defined; any bit set is -EINVAL */
};

struct sbx_setting {
	const char *key;
	const char *value; /* JSON where it parses as JSON, else a string */
};

struct sbx_file {
	const char *name; /* plain and relative, UTF-8: lies at /work/NAME */
	const void *data;
	size_t len;
};

struct sbx_request {
	const char *code; /* UTF-8; NUL bytes are refused */
	size_t code_len;
	const char *filename; /* name shown in tracebacks; NULL: "<program>" */
	const char *preset;   /* NULL: "strict" */
	const char *policy;   /* JSON or YAML text over the preset; NULL: none */
	size_t policy_len;
	const struct sbx_setting *settings; /* over preset and policy */
	size_t setting_count;
	int stdin_fd; /* read and handed to the program; < 0: empty. 0 is a descriptor too:
					 * set it to -1 for none */
	void (*on_output)(void *arg, int stream, const void *data,
			  size_t len); /* stream 1 or 2; NULL: none */
	void *arg;
	const int
		*cancel_fd; /* when it becomes readable the run is stopped; NULL: none */
	const struct sbx_file *files; /* put into the program's working directory */
	size_t file_count;
	/* What the program leaves in its working directory, once for each file before
	 * sbx_run() returns, 64 MiB together at most (the result lists the others, too);
	 * NULL: not handed out. path is the program's choice: relative, without "..", but
	 * any bytes. */
	void (*on_file)(void *arg, const char *path, const void *data, size_t len);
};

int sbx_open(struct sbx **ret_box, const struct sbx_options *options,
	     struct sbx_err *err);
int sbx_run(struct sbx *box, const struct sbx_request *request,
	    struct sbx_result **ret_result, struct sbx_err *err);
void sbx_close(struct sbx *box); /* takes NULL */

enum sbx_status sbx_result_status(const struct sbx_result *result);
const char *sbx_result_json(const struct sbx_result *result); /* valid until freed */
const char *sbx_result_summary(
	const struct sbx_result *result);        /* a few lines for a person */
void sbx_result_free(struct sbx_result *result); /* takes NULL */

#ifdef __cplusplus
}
#endif
#endif
