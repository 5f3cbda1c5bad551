/* SPDX-License-Identifier: MIT
 * A pool: everything of one template specification. It keeps a live template, replaces it
 * by age and count, and has as many waiting workers as recent demand suggests. Engine, on
 * its loop. */
#ifndef SBX_ZYGOTE_POOL_H
#define SBX_ZYGOTE_POOL_H

#include <jansson.h>

#include "zygote/template.h"
#include "zygote/worker.h"

/* A template is replaced after so many forks, or when it is so old, so that hash seed and
 * memory layout do not stay the same for longer (shared/walls.md, "The fork server").
 * SANDBOX_TEMPLATE_FORKS and SANDBOX_TEMPLATE_SECONDS of the engine's environment lower
 * them, for tests. */
#define POOL_TEMPLATE_FORKS 10000u
#define POOL_TEMPLATE_SECONDS 3600u
#define POOL_WAITING_MAX 16u

struct pool;
struct pool_take;

/* The spec is copied. Nothing is started before the first take. */
int pool_new(struct host *host, const struct template_spec *spec, struct pool **ret,
	     struct sbx_err *err);
/* Ends its templates; every live worker dies with them and its owner is not told. Sets
 * NULL, takes a pointer to NULL. */
void pool_free(struct pool **pool);
bool pool_is_spec(const struct pool *pool, const struct template_spec *spec);

/* One ready worker, to fn, never from inside this call: worker (the callee calls
 * worker_take and later pool_release), or NULL with err. *ret_take is valid until
 * then. */
typedef void (*pool_fn)(void *arg, struct worker *worker, const struct sbx_err *err);
int pool_take(struct pool *pool, pool_fn fn, void *arg, struct pool_take **ret_take,
	      struct sbx_err *err);
void pool_forget(struct pool_take **take); /* sets NULL, takes a pointer to NULL */
void pool_release(struct pool *pool, struct worker **worker); /* sets NULL */

bool pool_is_idle(const struct pool *pool); /* no taken worker, no taker */
void pool_drop(
	struct pool *pool); /* an idle pool lets its template go, until the next take */
uint64_t pool_last_used_us(const struct pool *pool);
bool pool_has_template(const struct pool *pool);
json_t *pool_health(const struct pool *pool); /* new reference */

#endif
