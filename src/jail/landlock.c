/* SPDX-License-Identifier: MIT
 * Purpose: wall: Landlock (landlock.h): what a worker may open by path and execute, whom
 * it may signal.
 * Process: the worker, inside its jail's root, single-threaded, as WORKER_UID.
 * child-safe: system calls only.
 * Trusts: that "/" is the jail's root, which the init built; outside of one the private
 *   directories are missing and landlock_prepare() fails.
 * Invariants: everything that the kernel's ABI can handle is handled, so that what no
 *   rule allows is denied: TCP has no rule at all, execution only by landlock_grant(). A
 *   process that is in a domain reaches its own children by signals, for they are in it
 *   too, and nothing outside. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "jail/landlock.h"

#define ABI_KNOWN 7

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* No device nodes, and no IOCTL_DEV: nobody needs one here. */
#define WRITE_RIGHTS                                                      \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |    \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |      \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |    \
	 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)
/* Of these only a file can be the object; the kernel refuses others in a rule for one. */
#define FILE_RIGHTS                                                   \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_TRUNCATE | \
	 LANDLOCK_ACCESS_FS_IOCTL_DEV)

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);

	/* ENOSYS: not built in; EOPNOTSUPP: not switched on at boot. */
	return abi < 0 ? 0 : (int)abi;
}

static __u64 handled_fs(int abi)
{
	__u64 rights = LANDLOCK_ACCESS_FS_REFER - 1; /* ABI 1: all below */

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 5)
		rights |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return rights;
}

/* what: for the message, where the stage alone does not say it. */
static int add_rule(const struct landlock *landlock, const char *path, int open_flags,
		    __u64 rights, enum sbx_stage stage, const char *what,
		    struct sbx_err *err)
{
	_cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC | open_flags);
	struct landlock_path_beneath_attr rule = { .parent_fd = fd };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_plain(err, stage, errno, what);
	rule.allowed_access = rights & handled_fs(landlock->abi);
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= FILE_RIGHTS;
	/* The kernel takes an empty rule for an error: nothing was asked that this ABI
	 * could refuse. */
	if (rule.allowed_access == 0)
		return 0;
	if (syscall(SYS_landlock_add_rule, landlock->fd, LANDLOCK_RULE_PATH_BENEATH,
		    &rule, 0) < 0)
		return err_set_plain(err, stage, errno, what);
	return 0;
}

static int add_worker_rules(const struct landlock *landlock, struct sbx_err *err)
{
	static const struct {
		const char *path;
		const char *what;
		int open_flags;
		__u64 rights;
	} rules[] = {
		{ "/", "a Landlock rule for the root", O_DIRECTORY, READ_RIGHTS },
		{ "/tmp", "a Landlock rule for /tmp", O_DIRECTORY | O_NOFOLLOW,
		  WRITE_RIGHTS },
		{ "/work", "a Landlock rule for /work", O_DIRECTORY | O_NOFOLLOW,
		  WRITE_RIGHTS },
		{ "/dev/shm", "a Landlock rule for /dev/shm", O_DIRECTORY | O_NOFOLLOW,
		  WRITE_RIGHTS },
		/* Each node by itself, so that nothing else that should come to be in
		 * /dev is writable. */
		{ "/dev/null", "a Landlock rule for /dev/null", O_NOFOLLOW,
		  WRITE_RIGHTS },
		{ "/dev/zero", "a Landlock rule for /dev/zero", O_NOFOLLOW,
		  WRITE_RIGHTS },
		{ "/dev/full", "a Landlock rule for /dev/full", O_NOFOLLOW,
		  WRITE_RIGHTS },
		{ "/dev/random", "a Landlock rule for /dev/random", O_NOFOLLOW,
		  WRITE_RIGHTS },
		{ "/dev/urandom", "a Landlock rule for /dev/urandom", O_NOFOLLOW,
		  WRITE_RIGHTS },
	};
	size_t i;
	int r;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		r = add_rule(landlock, rules[i].path, rules[i].open_flags,
			     rules[i].rights, SBX_AT_WALL, rules[i].what, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int landlock_prepare(struct landlock *ret, struct sbx_err *err)
{
	struct landlock made = { .fd = -1, .abi = landlock_abi() };
	struct k_landlock_ruleset_attr attr = { 0 };
	int r;

	if (made.abi == 0)
		return err_set_plain(err, SBX_AT_WALL, EOPNOTSUPP,
				     "this kernel has no Landlock");
	if (made.abi > ABI_KNOWN)
		made.abi = ABI_KNOWN;
	attr.handled_access_fs = handled_fs(made.abi);
	if (made.abi >= 4)
		attr.handled_access_net = LANDLOCK_ACCESS_NET_BIND_TCP |
					  LANDLOCK_ACCESS_NET_CONNECT_TCP;
	if (made.abi >= 6)
		attr.scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
	/* Born close-on-exec. */
	made.fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (made.fd < 0)
		return err_set_plain(err, SBX_AT_WALL, errno,
				     "making a Landlock ruleset");
	r = add_worker_rules(&made, err);
	if (r < 0) {
		(void)close(made.fd);
		return r;
	}
	*ret = made;
	return 0;
}

/* Follows symlinks: of the root's (/bin -> usr/bin) the engine made each, and a rule
 * holds for what was opened. */
int landlock_grant(struct landlock *landlock, const char *path, unsigned rights,
		   struct sbx_err *err)
{
	__u64 access = 0;

	if (landlock->fd < 0 ||
	    (rights & ~(LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_EXEC)) || rights == 0)
		return err_set_plain(err, SBX_AT_GRANT, EINVAL,
				     "malformed Landlock grant");
	if (rights & (LANDLOCK_READ | LANDLOCK_WRITE))
		access |= READ_RIGHTS;
	if (rights & LANDLOCK_WRITE)
		access |= WRITE_RIGHTS;
	if (rights & LANDLOCK_EXEC)
		access |= LANDLOCK_ACCESS_FS_EXECUTE;
	return add_rule(landlock, path, 0, access, SBX_AT_GRANT,
			"a Landlock rule for a granted path", err);
}

int landlock_apply(struct landlock *landlock, struct sbx_err *err)
{
	unsigned flags = 0;

	if (landlock->fd < 0)
		return err_set_plain(err, SBX_AT_WALL, EBADF,
				     "no Landlock ruleset to enter");
	/* Else a program fills the host's audit log with its denials, as fast as it can
	 * make them. */
	if (landlock->abi >= 7)
		flags = LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF |
			LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF;
	if (syscall(SYS_landlock_restrict_self, landlock->fd, flags) < 0)
		return err_set_plain(err, SBX_AT_WALL, errno,
				     "entering the Landlock domain");
	fd_close(&landlock->fd);
	return 0;
}
