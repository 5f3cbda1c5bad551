/* SPDX-License-Identifier: MIT
 * Purpose: the engine as a whole: pools by template, filters, walls (engine.h).
 * Process: the engine; unprivileged; on its loop.
 * Trusts: the broker. Policies are checked by the policy table before they come here.
 * Invariants: a run gets every wall, or its policy says that it may miss those that do
 * not stand, or it is refused. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/execution.h"
#include "engine/modules.h"
#include "engine/session.h"
#include "jail/filter.h"
#include "jail/walls.h"
#include "net/dial.h"
#include "zygote/groups.h"
#include "zygote/interpreter.h"

/* Without them there is no jail to put a program into. */
#define WALLS_NEEDED (WALL_USER | WALL_PID | WALL_MOUNT)

/* A file of the host's as it is now: started as root, the engine sees none of /etc itself.
 * malloc'ed; NULL: none. */
static char *read_host_file(void *arg, const char *path)
{
	struct engine *engine = arg;
	_cleanup_fd_ int fd = -1;
	char real[4096], link[64], *text = NULL;
	size_t len;

	/* Often a link to what some service writes. */
	if (host_resolve(&engine->host, path, real, NULL) < 0 ||
	    host_open(&engine->host, real, TREE_FILE, &fd, NULL) < 0)
		return NULL;
	/* A mount's descriptor is O_PATH: opened once more to be read. */
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return fd_read_file(AT_FDCWD, link, 1u << 20, &text, &len) < 0 ? NULL : text;
}

static int begin_network(struct engine *engine, struct sbx_err *err)
{
	int r = resolver_new(engine->loop, read_host_file, engine,
			     getenv("SANDBOX_NAMESERVERS"), &engine->resolver);

	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the resolver");
	/* Both may be missing: a run with a network is refused then, or not counted. */
	(void)traffic_new(engine->loop, &engine->traffic);
	(void)dial_namespace(&engine->network_cookie);
	return 0;
}

int engine_new(struct loop *loop, int broker_fd, int mover_fd, struct engine **ret,
	       struct sbx_err *err)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	int r;

	if (!engine)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "engine");
	engine->loop = loop;
	engine_session_limits(engine, SESSIONS_MAX, SESSION_IDLE_S);
	r = admission_new(loop, &engine->admission);
	if (r < 0) {
		free(engine);
		return err_set(err, SBX_AT_ENGINE, -r, "engine");
	}
	r = host_begin(&engine->host, loop, broker_fd, mover_fd, err);
	if (r < 0) {
		admission_free(&engine->admission);
		groups_free(&engine->host.groups);
		free(engine);
		return r;
	}
	r = begin_network(engine, err);
	if (r < 0) {
		engine_free(&engine);
		return r;
	}
	engine->host.walls = walls_standing();
	/* Why the first one is missing, while this process may still find out. */
	for (size_t i = 0; i < wall_count; i++)
		if (!(engine->host.walls & walls[i].bit)) {
			(void)walls[i].probe(engine->missing_detail,
					     sizeof(engine->missing_detail));
			break;
		}
	*ret = engine;
	return 0;
}

void engine_free(struct engine **e)
{
	struct engine *engine = *e;

	*e = NULL;
	if (!engine)
		return;
	execution_end_all(engine);
	session_end_all(engine);
	for (size_t i = 0; i < engine->pool_count; i++)
		pool_free(&engine->pools[i]);
	for (size_t i = 0; i < ENGINE_FILTERS; i++)
		buf_free(&engine->filters[i]);
	admission_free(&engine->admission);
	traffic_free(&engine->traffic);
	resolver_free(&engine->resolver);
	groups_free(&engine->host.groups);
	interpreter_forget(&engine->host);
	call_queue_free(&engine->host.mover);
	buf_free(&engine->host.zygote_filter);
	free(engine);
}

struct loop *engine_loop(struct engine *engine)
{
	return engine->loop;
}

struct admission *engine_admission(struct engine *engine)
{
	return engine->admission;
}

uid_t engine_starter_uid(const struct engine *engine)
{
	return engine->host.hello.starter_uid;
}

int engine_own_listener(struct engine *engine, int listen_fd)
{
	return own_add(&engine->own, listen_fd);
}

int engine_filter(struct engine *engine, unsigned run_flags, bool supervised,
		  const struct buf **ret, struct sbx_err *err)
{
	unsigned known = RUN_NETWORK | RUN_SUBPROCESS | RUN_LISTENER;
	size_t i = ((run_flags & RUN_NETWORK) ? 1 : 0) |
		   ((run_flags & RUN_SUBPROCESS) ? 2 : 0) |
		   ((run_flags & RUN_LISTENER) ? 4 : 0) | (supervised ? 8 : 0);
	int r;

	if (engine->filters[i].len == 0) {
		r = filter_worker(run_flags & known, supervised, &engine->filters[i],
				  err);
		if (r < 0) {
			buf_free(&engine->filters[i]);
			return r;
		}
	}
	*ret = &engine->filters[i];
	return 0;
}

const char *engine_default_python(struct engine *engine, struct sbx_err *err)
{
	if (!engine->default_python[0] &&
	    interpreter_default(&engine->host, engine->default_python, err) < 0) {
		engine->default_python[0] = '\0';
		return NULL;
	}
	return engine->default_python;
}

/* Takes the pool that was idle longest away, with its template if only that is wanted. */
static struct pool **idlest(struct engine *engine, bool with_template)
{
	struct pool **best = NULL;

	for (size_t i = 0; i < engine->pool_count; i++) {
		struct pool **p = &engine->pools[i];

		if (!pool_is_idle(*p) || (with_template && !pool_has_template(*p)))
			continue;
		if (!best || pool_last_used_us(*p) < pool_last_used_us(*best))
			best = p;
	}
	return best;
}

int engine_pool(struct engine *engine, const struct sbx_policy *policy,
		const char *python, unsigned run_walls, struct pool **ret,
		struct sbx_err *err)
{
	struct template_spec spec = { .python = python, .walls = run_walls };
	_cleanup_free_ const char **names = NULL;
	_cleanup_free_ char *view = NULL;
	struct pool **idle, *pool = NULL;
	size_t count = 0;
	int r;

	r = modules_view(policy, &view, err);
	if (r < 0)
		return r;
	names = calloc(policy->preload.count + 1, sizeof(*names));
	if (!names)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "template");
	/* A module that the program may not import is not there for it to find. */
	for (size_t i = 0; i < policy->preload.count; i++)
		if (modules_preloads(policy, policy->preload.items[i]))
			names[count++] = policy->preload.items[i];
	spec.preload = names;
	spec.view = view;
	for (size_t i = 0; i < engine->pool_count; i++)
		if (pool_is_spec(engine->pools[i], &spec)) {
			*ret = engine->pools[i];
			return 0;
		}
	/* A template is some 20 to 100 MB of memory and a span of ids: those that nobody
	 * uses make room. */
	if (engine->host.spans == 0x7fff && (idle = idlest(engine, true)))
		pool_drop(*idle);
	if (engine->pool_count == ENGINE_POOLS_MAX) {
		idle = idlest(engine, false);
		if (!idle)
			return err_set(err, SBX_AT_BUSY, EAGAIN,
				       "%u templates are in use", ENGINE_POOLS_MAX);
		pool_free(idle);
		*idle = engine->pools[--engine->pool_count];
	}
	r = pool_new(&engine->host, &spec, &pool, err);
	if (r < 0)
		return r;
	engine->pools[engine->pool_count++] = pool;
	*ret = pool;
	return 0;
}

int engine_walls(const struct engine *engine, const struct sbx_policy *policy,
		 unsigned *ret, struct sbx_err *err)
{
	unsigned missing = WALL_ALL & ~engine->host.walls;

	if (missing && (policy->degraded != POLICY_ALLOW || (missing & WALLS_NEEDED))) {
		for (size_t i = 0; i < wall_count; i++)
			if (missing & walls[i].bit)
				return err_set(err, SBX_AT_WALL, 0,
					       "missing wall: %s (%s: %s). It takes %s",
					       walls[i].name, walls[i].probed_with,
					       engine->missing_detail, walls[i].remedy);
		return err_set(err, SBX_AT_WALL, 0,
			       "a wall is missing; `sandbox doctor` says which");
	}
	*ret = engine->host.walls & WALL_ALL;
	return 0;
}

void engine_use(const struct engine *engine, uint32_t *ret_live, uint32_t *ret_begun)
{
	*ret_live = (uint32_t)(engine->execution_count + engine->session_count);
	*ret_begun = engine->begun;
}

json_t *engine_health(struct engine *engine)
{
	json_t *templates = json_array();

	for (size_t i = 0; i < engine->pool_count; i++)
		(void)json_array_append_new(templates, pool_health(engine->pools[i]));
	return json_pack("{s:s,s:o,s:i,s:i,s:s,s:o}", "status", "ok", "templates",
			 templates, "running", (int)engine->execution_count, "sessions",
			 (int)engine->session_count, "limits",
			 cgroup_name(&engine->host.hello.cgroup), "admission",
			 admission_describe(engine->admission));
}

json_t *engine_doctor(const struct engine *engine)
{
	unsigned missing = WALL_ALL & ~engine->host.walls;
	json_t *list = json_array();
	bool told = false;

	for (size_t i = 0; i < wall_count; i++) {
		bool stands = !(walls[i].bit & missing);

		/* Of the first one alone it is known why. */
		(void)json_array_append_new(
			list,
			json_pack("{s:s,s:b,s:s,s:s,s:s,s:s?}", "name", walls[i].name,
				  "stands", stands, "enforced", walls[i].enforced,
				  "probed_with", walls[i].probed_with, "detail",
				  stands || told ? "" : engine->missing_detail, "remedy",
				  stands ? NULL : walls[i].remedy));
		told = told || !stands;
	}
	return json_pack("{s:b,s:s,s:o,s:s,s:b}", "ok", missing == 0, "version",
			 SBX_VERSION, "walls", list, "limits",
			 cgroup_name(&engine->host.hello.cgroup), "root",
			 engine->host.hello.root != 0);
}
