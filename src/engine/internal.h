/* SPDX-License-Identifier: MIT
 * What engine.c and execution.c share. */
#ifndef SBX_ENGINE_INTERNAL_H
#define SBX_ENGINE_INTERNAL_H

#include "base/buf.h"
#include "engine/engine.h"
#include "net/own.h"
#include "net/resolver.h"
#include "net/traffic.h"
#include "zygote/pool.h"

#define ENGINE_POOLS_MAX 32u
#define ENGINE_FILTERS 32u

struct engine {
	struct host host;
	struct loop *loop;
	struct pool *pools[ENGINE_POOLS_MAX];
	size_t pool_count;
	struct execution *executions;
	size_t execution_count;
	uint32_t begun; /* executions and sessions, ever */
	struct session *sessions;
	size_t session_count, session_max;
	uint32_t session_idle_s;
	struct admission *admission;
	char missing_detail[160];  /* of the first wall that does not stand */
	char default_python[1024]; /* "" until first needed */
	struct resolver *resolver;
	struct own own;          /* ports that no program may dial */
	struct traffic *traffic; /* NULL: bytes are not counted here */
	uint64_t network_cookie; /* of the host's network namespace; 0: unknown */
	struct buf filters
		[ENGINE_FILTERS]; /* by RUN_* flags and supervision; compiled at first use */
};

/* The compiled filter of a run; valid as long as the engine. */
int engine_filter(struct engine *engine, unsigned run_flags, bool supervised,
		  const struct buf **ret, struct sbx_err *err);
/* The pool for a policy, made if need be. python: the resolved path. */
int engine_pool(struct engine *engine, const struct sbx_policy *policy,
		const char *python, unsigned run_walls, struct pool **ret,
		struct sbx_err *err);
const char *engine_default_python(struct engine *engine, struct sbx_err *err);
/* Which walls a run under this policy has: all, or with degraded "allow" those that
 * stand. Else WallMissing. */
int engine_walls(const struct engine *engine, const struct sbx_policy *policy,
		 unsigned *ret, struct sbx_err *err);

int engine_new_id(char id[33]); /* 128 random bits; 0 or -errno */
void execution_end_all(
	struct engine *engine); /* at the engine's end: done() is called for none */

#endif
