/* SPDX-License-Identifier: MIT
 * Purpose: an id-mapped copy of a mount (idmap.h).
 * Process: a fork of the broker, root, single thread. Trusts: the descriptor to be what root
 *   opened.
 * Invariants: the namespace of the map has no process left in it. */
#include "daemon/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"

static int write_map(pid_t pid, const char *name, unsigned outside, unsigned inside)
{
	char path[64], text[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	(void)snprintf(text, sizeof(text), "%u %u 1\n", outside, inside);
	return fd_write_file(AT_FDCWD, path, text);
}

int idmap_namespace(uid_t owner, gid_t group, uid_t uid)
{
	struct clone_args args = { .flags = CLONE_NEWUSER | CLONE_PIDFD,
				   .exit_signal = SIGCHLD };
	_cleanup_fd_ int pidfd = -1;
	char path[64];
	int ns = -1, r;
	pid_t pid;

	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	r = write_map(pid, "gid_map", group, uid);
	if (r == 0)
		r = write_map(pid, "uid_map", owner, uid);
	if (r == 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		ns = open(path, O_RDONLY | O_CLOEXEC);
		r = ns < 0 ? -errno : 0;
	}
	(void)k_pidfd_send_signal(pidfd, SIGKILL);
	(void)waitpid(pid, NULL, __WALL);
	return r < 0 ? r : ns;
}

int idmap_tree(int dir, uid_t uid, int *ret_tree, struct sbx_err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					       MOUNT_ATTR_NOEXEC | MOUNT_ATTR_IDMAP,
				   .propagation = MS_PRIVATE };
	_cleanup_fd_ int tree = -1, ns = -1;
	struct stat st;

	if (fstat(dir, &st) < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "the journal's directory");
	ns = idmap_namespace(st.st_uid, st.st_gid, uid);
	if (ns < 0)
		return err_set(err, SBX_AT_JOURNAL, -ns, "an id map");
	tree = open_tree(dir, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "open_tree");
	attr.userns_fd = (uint64_t)ns;
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_set(err, SBX_AT_JOURNAL, errno,
			       "an id-mapped mount of the journal's directory");
	*ret_tree = fd_take(&tree);
	return 0;
}
