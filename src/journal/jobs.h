/* SPDX-License-Identifier: MIT
 * What is handed from the loop to the writer: one record, or one piece of work, each. */
#ifndef SBX_JOURNAL_JOBS_H
#define SBX_JOURNAL_JOBS_H

#include "journal/rows.h"

#define SAMPLES_BLOCK 512u /* a longer run writes several */

/* A file that a run left: the writer's, until the verdict. */
struct left_file {
	struct left_file *next;
	char *path;
	uint64_t size;
	bool kept;
	unsigned char object[JOURNAL_OBJECT_BYTES];
};

/* An execution under way. The loop's, but for what is marked; freed with its last reference:
 * one is the table's, each job has one. */
struct live {
	struct live *next;
	char id[72];
	unsigned refs;
	bool listed; /* journal_end() has not been called */
	struct journal_sample *samples;
	size_t sample_count, sample_max;
	uint32_t samples_dropped;
	uint64_t file_bytes;
	int64_t seq;             /* the writer's; 0: not recorded */
	struct left_file *left;  /* the writer's */
	struct sbx_err file_err; /* the writer's: a file's contents could not be kept */
};
void live_unref(struct live *live); /* takes NULL */

/* A text as it is stored. */
struct stored {
	bool present, is_object;
	struct buf text;
	size_t bytes;
	unsigned char object[JOURNAL_OBJECT_BYTES];
};

enum job_kind { JOB_BEGIN, JOB_END, JOB_SAMPLES, JOB_FILE, JOB_SESSION, JOB_CALL };

typedef int (*job_call)(struct rows *rows, void *arg, struct sbx_err *err);

struct job {
	struct job *next;
	enum job_kind kind;
	journal_fn fn;
	void *arg;
	size_t bytes; /* about what it holds */
	struct live *live;
	int64_t at_us;
	char *id, *caller, *door, *session, *filename, *preset, *template,
		*what; /* what each has */
	char *data;    /* code, or a file's contents */
	size_t len;
	json_t *json; /* policy, result or session */
	struct journal_sample *samples;
	size_t sample_count;
	uint32_t samples_dropped;
	/* JOB_CALL: in a transaction of its own, for a thread that waits */
	job_call call;
	bool finished;

	/* by the writer, before the transaction */
	struct stored code, policy, result, out, err_out;
	char *python;
	json_t *events; /* redacted */
	struct left_file *left;
	bool failed;
	struct sbx_err err;
};

/* Redacts, renders and writes objects: what needs no transaction. */
int job_prepare(struct journal *journal, struct job *job, struct sbx_err *err);
/* Its rows, in a transaction, which may be tried again. */
int job_apply(struct rows *rows, struct job *job, struct sbx_err *err);
void job_free(struct job *job);

/* A job_call: verdicts "lost" for what dead engines began. */
int jobs_settle(struct rows *rows, void *arg, struct sbx_err *err);

#endif
