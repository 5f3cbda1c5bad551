/* SPDX-License-Identifier: MIT
 * Purpose: the verdict (outcome.h).
 * Process: the engine. Trusts: what the engine and the kernel measured. What the
 *   interpreter says (`done`) is a claim: it decides between ok, error and, next to
 *   evidence of the kernel's or the supervisor's, the verdicts of limits.
 * Invariants: a run that was stopped, or whose process did not end by itself with status
 * 0, is never `ok`. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/err.h"
#include "engine/outcome.h"

#define TOKENS_MAX 2000000u /* jansson needs about 100 bytes for each */
#define DEPTH_MAX 256u

static const char replacement[] = "\xef\xbf\xbd";

/* Length of the valid UTF-8 sequence at s (RFC 3629: no surrogates, nothing overlong, at
 * most U+10FFFF), or 0. */
static size_t sequence(const unsigned char *s, size_t len)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

json_t *outcome_text(const char *data, size_t len)
{
	const unsigned char *in = (const unsigned char *)data;
	json_t *text;
	size_t at = 0, bad = 0, out = 0;
	char *copy;

	while (at < len) {
		size_t n = sequence(in + at, len - at);

		bad += n == 0;
		at += n ? n : 1;
	}
	if (bad == 0)
		return json_stringn_nocheck(data ? data : "", len);
	copy = malloc(len + bad * (sizeof(replacement) - 2));
	if (!copy)
		return NULL;
	for (at = 0; at < len;) {
		size_t n = sequence(in + at, len - at);

		memcpy(copy + out, n ? data + at : replacement,
		       n ? n : sizeof(replacement) - 1);
		out += n ? n : sizeof(replacement) - 1;
		at += n ? n : 1;
	}
	text = json_stringn_nocheck(copy, out);
	free(copy);
	return text;
}

bool outcome_affordable(const char *data, size_t len, size_t tokens_max,
			size_t *ret_tokens)
{
	size_t tokens = 0, depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		if (c == '"')
			in_string = true;
		else if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		tokens += c == ',' || c == '[' || c == '{';
		if (tokens > tokens_max || depth > DEPTH_MAX)
			return false;
	}
	*ret_tokens = tokens;
	return true;
}

json_t *outcome_parse(const char *data, size_t len, const char **ret_why)
{
	json_error_t error;
	json_t *done;
	size_t tokens;

	if (!outcome_affordable(data, len, TOKENS_MAX, &tokens)) {
		*ret_why = "the result has too many parts to be handed over";
		return NULL;
	}
	done = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!json_is_object(done)) {
		json_decref(done);
		*ret_why =
			"the program wrote something else than a report to its channel";
		return NULL;
	}
	return done;
}

static json_t *make_error(const char *name, const char *value)
{
	return json_pack("{s:s,s:s,s:n,s:n}", "name", name, "value", value, "traceback",
			 "line");
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* {name, value, traceback, line} with nothing else, and of these types. */
static json_t *claimed_error(const json_t *done)
{
	const json_t *error = json_object_get(done, "error");
	json_t *name = json_object_get(error, "name"),
	       *value = json_object_get(error, "value");
	json_t *traceback = json_object_get(error, "traceback"),
	       *line = json_object_get(error, "line");

	if (!json_is_object(error) || !json_is_string(name))
		return NULL;
	return json_pack("{s:O,s:o,s:o,s:o}", "name", name, "value",
			 json_is_string(value) ? json_incref(value) : json_string(""),
			 "traceback",
			 json_is_string(traceback) ? json_incref(traceback) : json_null(),
			 "line", json_is_integer(line) ? json_incref(line) : json_null());
}

static enum sbx_status stopped(const struct outcome_facts *f, json_t **ret_error)
{
	char text[160];

	switch (f->stop) {
	case STOP_NONE:
		break;
	case STOP_CANCELLED:
		*ret_error = make_error("Killed", "the run was stopped");
		return SBX_KILLED;
	case STOP_TIMEOUT:
		(void)snprintf(text, sizeof(text),
			       "longer than max_execution_time = %g s",
			       f->policy->max_execution_time);
		*ret_error = make_error("TimeLimit", text);
		return SBX_TIMEOUT;
	case STOP_MEMORY:
		(void)snprintf(text, sizeof(text),
			       "more memory than max_memory_mb = %lld",
			       (long long)f->policy->max_memory_mb);
		*ret_error = make_error("MemoryLimit", text);
		return SBX_MEMORY;
	case STOP_CPU:
		(void)snprintf(text, sizeof(text),
			       "more CPU time than max_cpu_time = %g s",
			       f->policy->max_cpu_time);
		*ret_error = make_error("CpuLimit", text);
		return SBX_CPU;
	case STOP_OUTPUT:
		(void)snprintf(text, sizeof(text),
			       "more output than 64 times max_output_bytes = %lld",
			       (long long)f->policy->max_output_bytes);
		*ret_error = make_error("OutputLimit", text);
		return SBX_OUTPUT;
	case STOP_FAULT:
		*ret_error = make_error(err_kind(f->fault.stage)->name, f->fault.msg);
		return SBX_FAULT;
	}
	*ret_error = make_error("InternalError", "a run was stopped for no reason");
	return SBX_FAULT;
}

/* What the uncaught exception means, where the evidence agrees. */
static enum sbx_status status_of_cause(const struct outcome_facts *f, const char *cause)
{
	uint64_t limit = (uint64_t)f->policy->max_memory_mb << 20,
		 disk = (uint64_t)f->policy->max_disk_mb << 20;

	if (!cause)
		return SBX_ERROR;
	if (strcmp(cause, "memory") == 0 &&
	    (f->supervised || f->memory_refused > 0 || f->memory_peak_bytes >= limit / 2))
		return SBX_MEMORY;
	if (strcmp(cause, "processes") == 0 &&
	    (f->processes_refused > 0 ||
	     (f->supervised ? f->processes_peak > 1
			    : f->processes_peak >= (uint64_t)f->policy->max_processes)))
		return SBX_PROCESSES;
	if (strcmp(cause, "disk") == 0 &&
	    (f->disk_used_bytes >= disk / 2 ||
	     (f->disk_inodes && f->disk_used_inodes >= f->disk_inodes / 2)))
		return SBX_DISK;
	if (strcmp(cause, "denied") == 0 && f->denials > 0)
		return SBX_DENIED;
	return SBX_ERROR;
}

static enum sbx_status died(const struct outcome_facts *f, json_t **ret_error)
{
	char text[64];
	int sig;

	if (!f->exited) {
		*ret_error = make_error(
			"InternalError",
			"the program's process is gone and nobody saw how it ended");
		return SBX_FAULT;
	}
	if (WIFSIGNALED(f->wait_status)) {
		sig = WTERMSIG(f->wait_status);
		(void)snprintf(text, sizeof(text), "%d", sig);
		*ret_error = make_error("Signal", text);
		return SBX_ERROR;
	}
	(void)snprintf(text, sizeof(text), "%d", WEXITSTATUS(f->wait_status));
	if (WEXITSTATUS(f->wait_status) == 0) {
		*ret_error = json_null();
		return SBX_OK;
	}
	*ret_error = make_error("SystemExit", text);
	return SBX_ERROR;
}

static enum sbx_status claimed(const struct outcome_facts *f, json_t **ret_error)
{
	*ret_error = claimed_error(f->done);
	if (!*ret_error)
		*ret_error = make_error(
			"Error", "the program ended with an error that it did not name");
	return status_of_cause(f, text_of(f->done, "cause"));
}

/* Of a program whose process goes on there is nothing but its word. */
static enum sbx_status reported(const struct outcome_facts *f, const char *outcome,
				json_t **ret_error)
{
	json_int_t code = json_integer_value(json_object_get(f->done, "exit_code"));
	char text[32];

	if (outcome && strcmp(outcome, "error") == 0)
		return claimed(f, ret_error);
	if (!outcome || (strcmp(outcome, "exit") == 0 && code != 0)) {
		(void)snprintf(text, sizeof(text), "%d", (int)(code & 0xff));
		*ret_error = outcome ? make_error("SystemExit", text)
				     : make_error("Error", f->done_error ? f->done_error
									 : "no report");
		return SBX_ERROR;
	}
	*ret_error = json_null();
	return SBX_OK;
}

enum sbx_status outcome_status(const struct outcome_facts *f, json_t **ret_error)
{
	const char *outcome = text_of(f->done, "outcome");
	struct outcome_facts stop = *f;
	enum sbx_status status;

	/* An OOM kill is final whatever else was seen: what the group's survivors say is
	 * of no use. */
	if (f->stop == STOP_NONE && f->oom_kills > 0) {
		stop.stop = STOP_MEMORY;
		return stopped(&stop, ret_error);
	}
	if (f->stop != STOP_NONE)
		return stopped(f, ret_error);
	/* os._exit(0), or a program that closed its channel: it ended by itself, and says
	 * nothing. */
	if (f->lives)
		return reported(f, outcome, ret_error);
	if (!outcome || !f->exited)
		return died(f, ret_error);
	if (strcmp(outcome, "error") == 0)
		return claimed(f, ret_error);
	if (WIFSIGNALED(f->wait_status) || WEXITSTATUS(f->wait_status) != 0) {
		status = died(f, ret_error);
		return status == SBX_OK ? SBX_ERROR : status;
	}
	*ret_error = json_null();
	return SBX_OK;
}
