/* SPDX-License-Identifier: MIT
 * Purpose: assembles the result object (result.h). Process: the engine. Trusts: as
 * outcome.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/modules.h"
#include "engine/result.h"
#include "zygote/messages.h"

static json_t *stream_text(const struct stdio_stream *s, unsigned long long *ret_dropped)
{
	json_t *json = NULL;
	char *text;
	size_t len;

	if (headtail_join(&s->kept, &text, &len, ret_dropped) == 0) {
		json = outcome_text(text, len);
		free(text);
	}
	return json;
}

static void add_output(json_t *result, struct stdio *stdio, uint64_t files_omitted)
{
	unsigned long long dropped[2] = { 0, 0 };
	json_t *text[2] = { NULL, NULL };

	for (int i = 0; i < 2; i++)
		text[i] = stdio ? stream_text(&stdio->streams[i], &dropped[i]) : NULL;
	(void)json_object_set_new(result, "stdout", text[0] ? text[0] : json_string(""));
	(void)json_object_set_new(result, "stderr", text[1] ? text[1] : json_string(""));
	(void)json_object_set_new(
		result, "truncated",
		json_pack("{s:I,s:I,s:I}", "stdout", (json_int_t)dropped[0], "stderr",
			  (json_int_t)dropped[1], "files", (json_int_t)files_omitted));
}

static void set_claim(json_t *result, const json_t *done, const char *key)
{
	json_t *value = json_object_get(done, key);

	(void)json_object_set(result, key, value ? value : json_null());
}

/* "namespaces", and by name those that the policy let be missing (INV-2). */
static const char *isolation(unsigned w, char ret[128])
{
	static const struct {
		unsigned bit;
		const char *name;
	} kinds[] = {
		{ WALL_USER, "user" }, { WALL_MOUNT, "mount" }, { WALL_NET, "network" },
		{ WALL_IPC, "ipc" },   { WALL_UTS, "uts" },     { WALL_CGROUP, "cgroup" },
		{ WALL_TIME, "time" }, { WALL_PROC, "/proc" },
	};
	bool any = false;

	if (!(w & WALL_PID))
		return "none";
	strcpy(ret, "namespaces");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (w & kinds[i].bit)
			continue;
		strcat(ret, any ? ", " : ", without: ");
		strcat(ret, kinds[i].name);
		any = true;
	}
	return ret;
}

/* What stood behind each promise of this run. A wall that the policy let be missing shows
 * as "none". */
static json_t *enforced(const struct result_parts *p)
{
	char namespaces[128];
	const unsigned w = p->walls;
	const char *files = (w & WALL_MOUNT)      ? (w & WALL_LANDLOCK)
							    ? "mount namespace+landlock"
							    : "mount namespace"
			    : (w & WALL_LANDLOCK) ? "landlock"
						  : "none";
	const char *net = p->facts->policy->network_access
				  ? "network namespace+connection broker"
			  : (w & WALL_NET)     ? (w & WALL_SECCOMP)
							 ? "network namespace+seccomp"
							 : "network namespace"
			  : (w & WALL_SECCOMP) ? "seccomp"
					       : "none";

	if (w == 0)
		return json_object();
	return json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "memory", p->limits,
		"cpu", p->limits, "processes", p->limits, "wall_time", "supervisor",
		"output", "supervisor", "disk", "tmpfs", "open_files",
		(w & WALL_RLIMITS) ? "rlimit" : "none", "filesystem", files, "network",
		net, "syscalls", (w & WALL_SECCOMP) ? "seccomp" : "none", "privileges",
		(w & WALL_CAPS) ? "no capabilities+no_new_privs" : "no_new_privs",
		"isolation", isolation(w, namespaces));
}

json_t *result_template(const struct sbx_policy *policy, const char *python,
			uint32_t python_version)
{
	char version[24] = "";
	json_t *preload = json_array();

	for (size_t i = 0; i < policy->preload.count; i++)
		if (modules_preloads(policy, policy->preload.items[i]))
			(void)json_array_append_new(
				preload, json_string(policy->preload.items[i]));
	if (python_version)
		(void)snprintf(version, sizeof(version), "%u.%u.%u", python_version >> 24,
			       (python_version >> 16) & 255, (python_version >> 8) & 255);
	return json_pack("{s:s,s:s,s:o}", "python", python ? python : "", "version",
			 version, "preload", preload);
}

json_t *result_make(const struct result_parts *p)
{
	const struct outcome_facts *f = p->facts;
	enum sbx_status status;
	json_t *result = json_object(), *error = NULL;

	if (!result) {
		json_decref(p->files);
		return NULL;
	}
	status = outcome_status(f, &error);
	(void)json_object_set_new(result, "id", json_string(p->id));
	(void)json_object_set_new(result, "status", json_string(sbx_status_name(status)));
	/* The values of a run that was ended from outside are not there: what it had said
	 * before is no result. */
	set_claim(result, f->stop == STOP_NONE ? f->done : NULL, "result");
	set_claim(result, f->stop == STOP_NONE ? f->done : NULL, "result_repr");
	set_claim(result, f->stop == STOP_NONE ? f->done : NULL, "result_source");
	if (f->done_error && f->stop == STOP_NONE)
		(void)json_object_set_new(result, "result_repr",
					  json_string(f->done_error));
	add_output(result, p->stdio, p->files_omitted);
	(void)json_object_set_new(result, "error", error ? error : json_null());
	(void)json_object_set_new(result, "displays", displays_list(p->displays));
	(void)json_object_set_new(
		result, "result_display",
		displays_claim(p->displays, f->stop == STOP_NONE ? f->done : NULL));
	(void)json_object_set_new(result, "files", p->files ? p->files : json_array());
	(void)json_object_set_new(
		result, "usage",
		json_pack("{s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "wall_ms",
			  (double)p->wall_us / 1000.0, "cpu_ms",
			  (double)p->usage->cpu_us / 1000.0, "memory_peak_bytes",
			  (json_int_t)p->usage->memory_peak_bytes, "processes_peak",
			  (json_int_t)p->usage->processes_peak, "written_bytes",
			  (json_int_t)p->usage->written_bytes, "connections",
			  (json_int_t)p->network.connections, "sent_bytes",
			  (json_int_t)p->network.sent_bytes, "received_bytes",
			  (json_int_t)p->network.received_bytes));
	(void)json_object_set_new(result, "events", events_list(p->events));
	(void)json_object_set_new(result, "enforced", enforced(p));
	(void)json_object_set_new(result, "policy", policy_to_json_redacted(f->policy));
	(void)json_object_set_new(
		result, "template",
		result_template(f->policy, p->python, p->python_version));
	(void)json_object_set_new(result, "session",
				  p->session ? json_string(p->session) : json_null());
	(void)json_object_set_new(result, "execution_count",
				  p->count ? json_integer(p->count) : json_null());
	(void)json_object_set_new(
		result, "session_ended",
		p->session_ended
			? outcome_text(p->session_ended, strlen(p->session_ended))
			: json_null());
	return result;
}
