/* SPDX-License-Identifier: MIT
 * Purpose: calls to the broker that are answered at once, and the starter's files by them
 *   (host.h).
 * Process: the engine; started as an ordinary user it has the starter's rights and asks
 *   nobody, as the command does, which looks for interpreters with the same functions.
 * Trusts: the broker. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "zygote/host.h"

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
	struct broker_request request = { .op = BROKER_RESOLVE };
	struct broker_reply reply;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(request.path))
		return err_set(err, SBX_AT_GRANT, path[0] != '/' ? EINVAL : ENAMETOOLONG,
			       "%.64s", path);
	if (!host->hello.root) {
		char found[PATH_MAX];

		if (!realpath(path, found))
			return err_set(err, SBX_AT_GRANT, errno, "%.200s", path);
		memcpy(ret, found, strlen(found) + 1);
		return 0;
	}
	memcpy(request.path, path, strlen(path) + 1);
	r = host_call(host, &request, host->caller_fd, &reply, NULL, err);
	if (r < 0)
		return r;
	reply.path[sizeof(reply.path) - 1] = '\0';
	memcpy(ret, reply.path, sizeof(reply.path));
	return 0;
}

int host_open(struct host *host, const char *path, unsigned tree_flags, int *ret_fd,
	      struct sbx_err *err)
{
	struct broker_request request = { .op = BROKER_OPEN_SHOWN,
					  .tree_flags = tree_flags };
	struct broker_reply reply;
	int fd;

	if (path[0] != '/' || strlen(path) >= sizeof(request.path))
		return err_set(err, SBX_AT_GRANT, path[0] != '/' ? EINVAL : ENAMETOOLONG,
			       "%.64s", path);
	if (!host->hello.root) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
					((tree_flags & TREE_FILE) ? 0 : O_DIRECTORY));
		if (fd < 0)
			return err_set(err, SBX_AT_GRANT, errno, "%s", path);
		*ret_fd = fd;
		return 0;
	}
	memcpy(request.path, path, strlen(path) + 1);
	return host_call(host, &request, host->caller_fd, &reply, ret_fd, err);
}
