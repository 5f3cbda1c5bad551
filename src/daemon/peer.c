/* SPDX-License-Identifier: MIT
 * Purpose: the caller behind a connection, proved by the kernel (peer.h).
 * Process: the broker. Trusts: the kernel; nothing about the descriptor.
 * Invariants: SO_PEERCRED alone proves nothing here: a listening socket, a socketpair of
 *   the starter's and a socket that connected to some service of root's all say "root".
 *   Only what a listener of ours accepted counts, while its other end is open: such a
 *   socket is bound to the listener's own inode, which nobody can bind another one to. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/peer.h"

static int option(int fd, int name, int *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, name, ret, &len) < 0 ? -errno : 0;
}

static int parse_diag(const char *data, size_t len, uint32_t *ret_ino, uint32_t *ret_dev)
{
	const struct nlmsghdr *head = (const void *)data;
	const struct rtattr *attr;
	const struct unix_diag_vfs *vfs;
	int left;

	if (!NLMSG_OK(head, len))
		return -EBADMSG;
	if (head->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = NLMSG_DATA(head);

		return head->nlmsg_len >= NLMSG_LENGTH(sizeof(*error)) && error->error < 0
			       ? error->error
			       : -EBADMSG;
	}
	if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    head->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
		return -EBADMSG;
	left = (int)(head->nlmsg_len - NLMSG_LENGTH(sizeof(struct unix_diag_msg)));
	attr = (const void *)((const char *)NLMSG_DATA(head) +
			      NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
		if (attr->rta_type == UNIX_DIAG_VFS &&
		    RTA_PAYLOAD(attr) >= sizeof(*vfs)) {
			vfs = RTA_DATA(attr);
			*ret_ino = vfs->udiag_vfs_ino;
			*ret_dev = vfs->udiag_vfs_dev;
			return 0;
		}
	return -ENOENT;
}

/* The file that a unix socket is bound to. -ENOENT: to none. */
static int bound_to(int fd, uint32_t *ret_ino, uint32_t *ret_dev)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req body;
	} ask = { .head = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST },
		  .body = { .sdiag_family = AF_UNIX,
			    .udiag_states = ~0u,
			    .udiag_show = UDIAG_SHOW_VFS } };
	_cleanup_fd_ int diag = -1;
	_Alignas(struct nlmsghdr) char answer[1024];
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0) /* 4.12 */
		return -errno;
	diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (diag < 0)
		return -errno;
	ask.body.udiag_ino = (uint32_t)st.st_ino;
	ask.body.udiag_cookie[0] = (uint32_t)cookie;
	ask.body.udiag_cookie[1] = (uint32_t)(cookie >> 32);
	if (send(diag, &ask, sizeof(ask), 0) != (ssize_t)sizeof(ask))
		return -errno;
	n = recv(diag, answer, sizeof(answer), MSG_DONTWAIT);
	return n < 0 ? -errno : parse_diag(answer, (size_t)n, ret_ino, ret_dev);
}

int peer_listener(struct listeners *listeners, int fd)
{
	uint32_t ino, dev;
	int value, r;

	if (option(fd, SO_DOMAIN, &value) < 0 || value != AF_UNIX)
		return 0;
	if (listeners->count == LISTENERS_MAX)
		return -ENOSPC;
	r = bound_to(fd, &ino, &dev);
	if (r < 0)
		return r;
	listeners->of[listeners->count].ino = ino;
	listeners->of[listeners->count++].dev = dev;
	return 0;
}

int peer_identity(const struct listeners *listeners, int fd, struct identity *ret)
{
	struct pollfd alive = { .fd = fd };
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int domain, type, listening, r;
	uint32_t ino, dev;
	size_t i;

	if (option(fd, SO_DOMAIN, &domain) < 0 || domain != AF_UNIX)
		return -ENOTSOCK;
	if (option(fd, SO_TYPE, &type) < 0 || type != SOCK_STREAM ||
	    option(fd, SO_ACCEPTCONN, &listening) < 0 || listening)
		return -EBADMSG;
	r = bound_to(fd, &ino, &dev);
	if (r < 0)
		return r == -ENOENT ? -EBADMSG : r;
	for (i = 0; i < listeners->count; i++)
		if (listeners->of[i].ino == ino && listeners->of[i].dev == dev)
			break;
	if (i == listeners->count)
		return -EBADMSG;
	if (poll(&alive, 1, 0) != 0)
		return -EPIPE;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	/* -1 would be "as before" to setresuid(2). */
	if (cred.uid == (uid_t)-1 || cred.gid == (gid_t)-1)
		return -EBADMSG;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	len = sizeof(ret->groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret->groups, &len) < 0) /* 4.13 */
		return -errno;
	ret->group_count = (int)(len / sizeof(gid_t));
	return 0;
}

void peer_unbecome(const gid_t *mine, int count)
{
	if (syscall(SYS_setresuid, -1, 0, -1) < 0 ||
	    syscall(SYS_setresgid, -1, 0, -1) < 0 ||
	    syscall(SYS_setgroups, count, mine) < 0)
		_exit(1);
}

/* The raw calls change one thread's ids (glibc's change all), and the other thread, which
 * moves processes, keeps its own. */
int peer_become(const struct identity *who, gid_t mine[1024], int *ret_count)
{
	int count = getgroups(1024, mine);

	if (count < 0 || syscall(SYS_setgroups, who->group_count, who->groups) < 0)
		return -errno;
	*ret_count = count;
	if (syscall(SYS_setresgid, -1, who->gid, -1) < 0 ||
	    syscall(SYS_setresuid, -1, who->uid, -1) < 0) {
		int r = -errno;

		peer_unbecome(mine, count);
		return r;
	}
	return 0;
}
