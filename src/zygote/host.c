/* SPDX-License-Identifier: MIT
 * Purpose: the engine's ways to the broker (host.h). Process: the engine. Trusts: the
 * broker. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "jail/filter.h"
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

	*host = (struct host){ .loop = loop, .broker_fd = broker_fd };
	r = wire_recv(broker_fd, &host->hello, sizeof(host->hello), NULL, 0, &count);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the broker's first message");
	/* Half a set of controllers would be two ways to keep limits at once: then the
	 * supervisor keeps them all. */
	if (host->hello.cgroup.version != CGROUP_NONE &&
	    (host->hello.cgroup.controllers & LIMIT_CONTROLLERS) != LIMIT_CONTROLLERS)
		host->hello.cgroup.version = CGROUP_NONE;
	r = call_queue_new(loop, mover_fd, sizeof(struct broker_request),
			   sizeof(struct broker_reply), mover_lost, host, &host->mover);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the broker's second socket");
	return filter_zygote(&host->zygote_filter, err);
}

int host_call(struct host *host, const struct broker_request *request, int fd,
	      struct broker_reply *ret_reply, int *ret_fd, struct sbx_err *err)
{
	int got = -1, r;
	size_t count = 0;

	r = wire_send(host->broker_fd, request, sizeof(*request), &fd, fd >= 0 ? 1 : 0);
	if (r == 0)
		r = wire_recv(host->broker_fd, ret_reply, sizeof(*ret_reply), &got, 1,
			      &count);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "a call to the broker");
	if (count == 0)
		got = -1;
	if (ret_reply->err.stage != SBX_AT_NONE) {
		fd_close(&got);
		if (err)
			*err = ret_reply->err;
		return ret_reply->err.errnum > 0 ? -ret_reply->err.errnum : -EINVAL;
	}
	if (ret_fd && got < 0)
		return err_set(err, SBX_AT_ENGINE, EBADMSG,
			       "the broker sent no descriptor");
	if (ret_fd)
		*ret_fd = got;
	else
		fd_close(&got);
	return 0;
}

int host_resolve(struct host *host, const char *path, char ret[4096], struct sbx_err *err)
{
	return host_resolve_as(host, path, -1, ret, err);
}

int host_resolve_as(struct host *host, const char *path, int peer_fd, char ret[4096],
		    struct sbx_err *err)
{
	struct broker_request request = { .op = BROKER_RESOLVE };
	struct broker_reply reply;
	int r;

	if (strlen(path) >= sizeof(request.path))
		return err_set(err, SBX_AT_GRANT, ENAMETOOLONG, "%.64s...", path);
	memcpy(request.path, path, strlen(path) + 1);
	r = host_call(host, &request, peer_fd, &reply, NULL, err);
	if (r < 0)
		return r;
	reply.path[sizeof(reply.path) - 1] = '\0';
	memcpy(ret, reply.path, sizeof(reply.path));
	return 0;
}

int host_open(struct host *host, const char *path, unsigned tree_flags, int *ret_fd,
	      struct sbx_err *err)
{
	struct broker_request request = { .op = BROKER_OPEN_TREE,
					  .tree_flags = tree_flags };
	struct broker_reply reply;
	int fd;

	if (strlen(path) >= sizeof(request.path))
		return err_set(err, SBX_AT_GRANT, ENAMETOOLONG, "%.64s...", path);
	if (!host->hello.root) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
					((tree_flags & TREE_FILE) ? 0 : O_DIRECTORY));
		if (fd < 0)
			return err_set(err, SBX_AT_GRANT, errno, "%s", path);
		*ret_fd = fd;
		return 0;
	}
	memcpy(request.path, path, strlen(path) + 1);
	return host_call(host, &request, -1, &reply, ret_fd, err);
}
