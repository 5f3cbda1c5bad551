/* SPDX-License-Identifier: MIT
 * Purpose: a thread that removes groups (groups.h).
 * Process: the engine; any thread of it may ask. Trusts: the kernel.
 * Invariants: the queue is bounded; a group is named by an index that is never used again,
 *   so that nobody waits for its end. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "zygote/groups.h"

#define WAITING_MAX 1024u
#define TRIES 200
#define TRY_NS 5000000L /* apart */

struct groups {
	const struct cgroup_host *host;
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
	bool started, ending;
	uint32_t waiting[WAITING_MAX]; /* a ring: first, and count behind it */
	size_t first, count;
};

/* A zombie that nobody has waited for yet, or the kernel's delayed work, keeps a group
 * busy for a moment. */
static void remove_one(const struct groups *groups, uint32_t index, int tries)
{
	while (cgroup_remove(groups->host, index) == -EBUSY && tries-- > 0) {
		(void)cgroup_kill(groups->host, index);
		(void)nanosleep(&(struct timespec){ .tv_nsec = TRY_NS }, NULL);
	}
}

static void *work(void *arg)
{
	struct groups *groups = arg;

	(void)pthread_mutex_lock(&groups->lock);
	for (;;) {
		uint32_t index;

		while (groups->count == 0 && !groups->ending)
			(void)pthread_cond_wait(&groups->more, &groups->lock);
		/* What is left then is the broker's, which comes behind us. */
		if (groups->ending)
			break;
		index = groups->waiting[groups->first];
		groups->first = (groups->first + 1) % WAITING_MAX;
		groups->count--;
		(void)pthread_mutex_unlock(&groups->lock);
		remove_one(groups, index, TRIES);
		(void)pthread_mutex_lock(&groups->lock);
	}
	(void)pthread_mutex_unlock(&groups->lock);
	return NULL;
}

int groups_new(const struct cgroup_host *host, struct groups **ret)
{
	struct groups *groups = calloc(1, sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	groups->host = host;
	if (pthread_mutex_init(&groups->lock, NULL) != 0 ||
	    pthread_cond_init(&groups->more, NULL) != 0) {
		free(groups);
		return -ENOMEM;
	}
	*ret = groups;
	return 0;
}

void groups_remove(struct groups *groups, uint32_t index)
{
	bool queued = false;

	(void)pthread_mutex_lock(&groups->lock);
	if (!groups->started)
		groups->started = pthread_create(&groups->thread, NULL, work, groups) ==
				  0;
	if (groups->started && groups->count < WAITING_MAX) {
		groups->waiting[(groups->first + groups->count) % WAITING_MAX] = index;
		groups->count++;
		queued = true;
		(void)pthread_cond_signal(&groups->more);
	}
	(void)pthread_mutex_unlock(&groups->lock);
	if (!queued)
		remove_one(groups, index, TRIES);
}

void groups_free(struct groups **g)
{
	struct groups *groups = *g;

	*g = NULL;
	if (!groups)
		return;
	(void)pthread_mutex_lock(&groups->lock);
	groups->ending = true;
	(void)pthread_cond_signal(&groups->more);
	(void)pthread_mutex_unlock(&groups->lock);
	if (groups->started)
		(void)pthread_join(groups->thread, NULL);
	(void)pthread_cond_destroy(&groups->more);
	(void)pthread_mutex_destroy(&groups->lock);
	free(groups);
}
