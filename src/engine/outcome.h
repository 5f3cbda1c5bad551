/* SPDX-License-Identifier: MIT
 * From facts to a verdict, and the one result shape. Plain data in, no state, no
 * descriptors: the engine collects the facts, this says what they mean. */
#ifndef SBX_ENGINE_OUTCOME_H
#define SBX_ENGINE_OUTCOME_H

#include <jansson.h>

#include "policy/policy.h"
#include "sbx.h"

/* Why the engine ended a run before its own end. The first reason counts. */
enum outcome_stop {
	STOP_NONE = 0,
	STOP_CANCELLED,
	STOP_TIMEOUT,
	STOP_MEMORY,
	STOP_CPU,
	STOP_OUTPUT,
	STOP_FAULT,
};

struct outcome_facts {
	const struct sbx_policy *policy;
	enum outcome_stop stop;
	struct sbx_err fault;   /* with STOP_FAULT */
	const json_t *done;     /* the program's own report (a claim), or NULL */
	const char *done_error; /* why the report was not readable, or NULL */
	bool lives;  /* of a session: the report is there, its worker goes on */
	bool exited; /* wait_status is known */
	int wait_status;
	/* of the kernel */
	uint64_t oom_kills, memory_refused, processes_refused;
	uint64_t memory_peak_bytes, disk_used_bytes, disk_used_inodes, disk_inodes;
	uint32_t processes_peak;
	/* Rlimits keep memory and processes, and leave no count of what they refused: a
	 * MemoryError is believed to come from there, EAGAIN too once there was more than
	 * one process. */
	bool supervised;
	size_t denials; /* events of denied operations, of any source */
};

/* *ret_error: new reference, {name, value, traceback, line} or JSON null. */
enum sbx_status outcome_status(const struct outcome_facts *facts, json_t **ret_error);

/* Text that a program wrote, as a JSON string: what is not UTF-8 becomes U+FFFD. New
 * reference, NULL: no memory. */
json_t *outcome_text(const char *data, size_t len);
/* What a text of JSON would cost, counted before it is paid: false if it has more than
 * tokens_max parts or is nested too deep. */
bool outcome_affordable(const char *data, size_t len, size_t tokens_max,
			size_t *ret_tokens);
/* A program's report. NULL, with a sentence in *ret_why, where it is no JSON object or
 * one that would cost too much. */
json_t *outcome_parse(const char *data, size_t len, const char **ret_why);

#endif
