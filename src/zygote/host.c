/* SPDX-License-Identifier: MIT
 * Purpose: the engine's ways to the broker (host.h). Process: the engine. Trusts: the
 * broker. */
#include <errno.h>

#include "base/err.h"
#include "base/wire.h"
#include "jail/filter.h"
#include "zygote/groups.h"
#include "zygote/host.h"

#define LIMIT_CONTROLLERS (CGROUP_MEMORY | CGROUP_CPU | CGROUP_CPUACCT | CGROUP_PIDS)

static void mover_lost(void *arg)
{
	struct host *host = arg;

	/* The broker is gone: nobody would clean up after us. */
	loop_stop(host->loop);
}

int host_begin(struct host *host, struct loop *loop, int broker_fd, int mover_fd,
	       struct sbx_err *err)
{
	size_t count;
	int r;

	*host = (struct host){ .loop = loop, .broker_fd = broker_fd, .caller_fd = -1 };
	r = wire_recv(broker_fd, &host->hello, sizeof(host->hello), NULL, 0, &count);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the broker's first message");
	/* Half a set of controllers would be two ways to keep limits at once: then the
	 * supervisor keeps them all. */
	if (host->hello.cgroup.version != CGROUP_NONE &&
	    (host->hello.cgroup.controllers & LIMIT_CONTROLLERS) != LIMIT_CONTROLLERS)
		host->hello.cgroup.version = CGROUP_NONE;
	if (host->hello.cgroup.version != CGROUP_NONE &&
	    groups_new(&host->hello.cgroup, &host->groups) < 0)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "groups");
	r = call_queue_new(loop, mover_fd, sizeof(struct broker_request),
			   sizeof(struct broker_reply), mover_lost, host, &host->mover);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the broker's second socket");
	return filter_zygote(&host->zygote_filter, err);
}
