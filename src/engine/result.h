/* SPDX-License-Identifier: MIT
 * The result object: one shape for every face (docs/api.md). */
#ifndef SBX_ENGINE_RESULT_H
#define SBX_ENGINE_RESULT_H

#include "engine/displays.h"
#include "engine/events.h"
#include "engine/meter.h"
#include "engine/network.h"
#include "engine/outcome.h"
#include "engine/stdio.h"

struct result_parts {
	const char *id;
	const struct outcome_facts *facts;
	const struct meter_usage *usage;
	struct stdio *stdio; /* NULL: the program never started */
	struct events *events;
	const struct displays *displays;
	json_t *files; /* taken; NULL: none */
	uint64_t files_omitted;
	uint64_t wall_us;
	struct network_usage network;
	unsigned walls;            /* WALL_* that stood; 0: the program never started */
	const char *limits;        /* "cgroup2", "cgroup1" or "rlimit+supervised" */
	const char *python;        /* resolved path */
	uint32_t python_version;   /* PY_VERSION_HEX, 0: not known */
	const char *session;       /* its id; NULL: none */
	uint32_t count;            /* in the session */
	const char *session_ended; /* why, or NULL */
};
/* {"python", "version", "preload"}. New reference. */
json_t *result_template(const struct sbx_policy *policy, const char *python,
			uint32_t python_version);
/* New reference; NULL: no memory. */
json_t *result_make(const struct result_parts *parts);

#endif
