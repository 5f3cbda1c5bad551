/* SPDX-License-Identifier: MIT
 * Purpose: tries each wall for real (walls_probe.h): enters the namespace and looks
 *   whether it holds, denies itself something and looks whether it is denied.
 * Process: a child of the engine or of the command, with the rights that these have;
 * single thread.
 * Trusts: the kernel.
 * Invariants: a probe ends within PROBE_MS, by SIGKILL if need be; what it starts dies
 *   with it. The child raises no SIGCHLD, so that nobody's handler sees it. Nothing that
 *   a probe does is visible outside of its child. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "jail/caps.h"
#include "jail/landlock.h"
#include "jail/rlimits.h"
#include "jail/seccomp.h"
#include "jail/walls_probe.h"

#define PROBE_MS 2000
#define INSIDE_UID 1000
#define NAMESPACES                                                                  \
	(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | \
	 CLONE_NEWUTS | CLONE_NEWCGROUP)

struct probe {
	/* before: */
	uid_t uid;
	gid_t gid;
	struct stat ipc; /* the starter's namespace */
	uint64_t monotonic_s;
	/* the child's answer: */
	int32_t errnum;
	bool explained; /* text has what errnum means in it */
	char text[160];
};

/* The child's sentence; returns -errnum. */
__attribute__((format(printf, 3, 4))) static int say(struct probe *p, int errnum,
						     const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(p->text, sizeof(p->text), fmt, args);
	va_end(args);
	p->errnum = errnum;
	return -errnum;
}

static int say_err(struct probe *p, int r, const struct sbx_err *err)
{
	p->explained = true;
	return say(p, -r, "%.150s", err->msg);
}

/* ---- in the child ---- */

static int map_ids(struct probe *p)
{
	char map[48];
	int r;

	/* user_namespaces(7): who may not set groups may map its own after giving that
	 * up. */
	(void)fd_write_file(AT_FDCWD, "/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "%d %u 1", INSIDE_UID, (unsigned)p->gid);
	r = fd_write_file(AT_FDCWD, "/proc/self/gid_map", map);
	if (r < 0)
		return say(p, -r, "writing gid_map");
	(void)snprintf(map, sizeof(map), "%d %u 1", INSIDE_UID, (unsigned)p->uid);
	r = fd_write_file(AT_FDCWD, "/proc/self/uid_map", map);
	if (r < 0)
		return say(p, -r, "writing uid_map");
	if (getuid() != INSIDE_UID || getgid() != INSIDE_UID)
		return say(p, EPERM, "the ids did not change");
	return 0;
}

static int try_user(struct probe *p)
{
	/* The ids are mapped by now. A namespace can be had and be worth nothing: where
	 * AppArmor restricts it, its capabilities are refused when they are used. */
	if (unshare(CLONE_NEWUTS) < 0)
		return say(p, errno, "using a capability in a new user namespace");
	return say(p, 0, "uid %u outside is %d inside", (unsigned)p->uid, INSIDE_UID);
}

static int try_pid(struct probe *p)
{
	if (getpid() != 1)
		return say(p, EPERM, "the first process is number %d", (int)getpid());
	/* Nobody of the outside has a number here. */
	if (kill(2, 0) == 0 || errno != ESRCH)
		return say(p, EPERM, "other processes are in sight");
	return say(p, 0, "the first process is number 1 and alone");
}

static int try_net(struct probe *p)
{
	/* TEST-NET-1 (RFC 5737); connecting a datagram socket sends nothing. */
	const struct sockaddr_in to = { .sin_family = AF_INET,
					.sin_port = htons(9),
					.sin_addr.s_addr = htonl(0xc0000201) };
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return say(p, errno, "a socket in a new network namespace");
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 ||
	    errno != ENETUNREACH)
		return say(p, EPERM, "the network is still to be reached");
	return say(p, 0, "no network is to be reached from inside");
}

static int try_ipc(struct probe *p)
{
	struct stat st;

	if (stat("/proc/self/ns/ipc", &st) < 0)
		return say(p, errno, "/proc/self/ns/ipc");
	if (st.st_ino == p->ipc.st_ino && st.st_dev == p->ipc.st_dev)
		return say(p, EPERM, "the namespace is the starter's");
	return say(p, 0, "System V and POSIX queues are its own");
}

static int try_uts(struct probe *p)
{
	struct utsname name;

	if (sethostname("probe", 5) < 0)
		return say(p, errno, "sethostname in a new uts namespace");
	if (uname(&name) < 0 || strcmp(name.nodename, "probe") != 0)
		return say(p, EPERM, "the host name did not change");
	return say(p, 0, "the host name is its own");
}

static int try_cgroup(struct probe *p)
{
	char text[8192];
	_cleanup_fd_ int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : fd_read_all(fd, text, sizeof(text) - 1);
	char *line, *end;

	if (n < 0)
		return say(p, (int)-n, "/proc/self/cgroup");
	text[n] = '\0';
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (end - line < 2 || strcmp(end - 2, ":/") != 0)
			return say(p, EPERM, "the starter's groups are in sight");
	}
	return say(p, 0, "every group shows as /");
}

static int try_time(struct probe *p)
{
	struct timespec now;
	int status, r;
	pid_t pid;

	if (unshare(CLONE_NEWTIME) < 0) /* 5.6 */
		return say(p, errno, "unshare(CLONE_NEWTIME)");
	r = fd_write_file(AT_FDCWD, "/proc/self/timens_offsets", "monotonic 1000000 0\n");
	if (r < 0)
		return say(p, -r, "writing timens_offsets");
	pid = fork(); /* children are in it, we are not */
	if (pid < 0)
		return say(p, errno, "fork into a time namespace");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
				      (uint64_t)now.tv_sec >= p->monotonic_s + 1000000
			      ? 0
			      : 1);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return say(p, EPERM, "the clock did not move");
	return say(p, 0, "the monotonic clock has an offset of its own");
}

static int private_mounts(struct probe *p)
{
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0
		       ? say(p, errno, "making mounts private")
		       : 0;
}

static int try_proc(struct probe *p)
{
	_cleanup_fd_ int fs = -1, tree = -1;
	char self[16];
	ssize_t n;

	if (private_mounts(p) < 0)
		return -p->errnum;
	fs = fsopen("proc", FSOPEN_CLOEXEC);
	if (fs < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "subset", "pid", 0) < 0 || /* 5.8 */
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return say(p, errno, "a new /proc with subset=pid");
	tree = fsmount(fs, FSMOUNT_CLOEXEC,
		       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (tree < 0 ||
	    move_mount(tree, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return say(p, errno, "mounting a new /proc");
	n = readlink("/proc/self", self, sizeof(self));
	if (n != 1 || self[0] != '1' || access("/proc/sys", F_OK) == 0)
		return say(p, EPERM, "the new /proc shows more than this namespace");
	return say(p, 0, "shows the processes of its own pid namespace and nothing else");
}

static int try_mount(struct probe *p)
{
	if (private_mounts(p) < 0)
		return -p->errnum;
	if (mount("probe", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0755") <
	    0)
		return say(p, errno, "mounting a tmpfs");
	if (chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return say(p, errno, "pivot_root");
	if (access("/usr", F_OK) == 0 || access("/proc", F_OK) == 0)
		return say(p, EPERM, "the starter's files are in sight");
	return say(p, 0, "a root of its own, in which nothing of the host is");
}

static int try_caps(struct probe *p)
{
	struct sbx_err err = { 0 };
	int r = caps_keep(0, &err);

	if (r == 0)
		r = caps_no_new_privs(&err);
	if (r < 0)
		return say_err(p, r, &err);
	if (unshare(CLONE_NEWUTS) == 0 || errno != EPERM)
		return say(p, EPERM, "a privileged call still works");
	return say(p, 0, "all dropped, the bounding set empty, no_new_privs set");
}

static int try_landlock(struct probe *p)
{
	struct k_landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_READ_DIR
	};
	_cleanup_fd_ int ruleset = -1, fd = -1;
	struct sbx_err err = { 0 };
	int abi = landlock_abi(), r;

	if (abi == 0)
		return say(p, EOPNOTSUPP,
			   "this kernel has no Landlock, or it is not switched on");
	r = caps_no_new_privs(&err);
	if (r < 0)
		return say_err(p, r, &err);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
			       sizeof(attr.handled_access_fs), 0);
	if (ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return say(p, errno, "entering a Landlock domain");
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != EACCES)
		return say(p, EPERM, "a Landlock domain denied nothing");
	return say(p, 0, "Landlock ABI %d", abi);
}

/* A call of the grandchild's is denied by us, who are told of it. */
static int answer_one(struct probe *p, int listener)
{
	struct seccomp_notif_sizes sizes;
	union {
		struct seccomp_notif notif;
		char room[512];
	} in;
	union {
		struct seccomp_notif_resp resp;
		char room[512];
	} out;
	struct pollfd ready = { .fd = listener, .events = POLLIN };

	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return say(p, errno, "the sizes of a seccomp notification");
	if (sizes.seccomp_notif > sizeof(in) || sizes.seccomp_notif_resp > sizeof(out))
		return say(p, E2BIG, "seccomp notifications are larger than known");
	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
	if (poll(&ready, 1, PROBE_MS / 2) != 1 ||
	    ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &in) < 0)
		return say(p, errno ? errno : ETIMEDOUT,
			   "receiving a seccomp notification");
	out.resp.id = in.notif.id;
	out.resp.error = -EXDEV;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &out) < 0)
		return say(p, errno, "answering a seccomp notification");
	return 0;
}

static int try_seccomp(struct probe *p)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sbx_err err = { 0 };
	_cleanup_fd_ int listener = -1;
	int r = caps_no_new_privs(&err), status;
	pid_t pid;

	if (r == 0)
		r = seccomp_apply(code, sizeof(code), true, &listener, &err);
	if (r < 0)
		return say_err(p, r, &err);
	if (syscall(SYS_getpgid, 0) >= 0 || errno != EDOM)
		return say(p, EPERM, "a seccomp filter denied nothing");
	pid = fork();
	if (pid < 0)
		return say(p, errno, "fork");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(syscall(SYS_getppid) < 0 && errno == EXDEV ? 0 : 1);
	}
	r = answer_one(p, listener);
	if (r < 0)
		(void)kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || (r == 0 && status != 0))
		r = say(p, EPERM, "the answer to a seccomp notification did not arrive");
	return r < 0 ? r : say(p, 0, "filters, and notification of their supervisor");
}

static int try_rlimits(struct probe *p)
{
	const struct rlimits limits = { .open_files = 24, .file_bytes = 1u << 20 };
	struct sbx_err err = { 0 };
	int r = rlimits_apply(&limits, &err), opened[32], i;
	struct rlimit core;

	if (r < 0)
		return say_err(p, r, &err);
	for (i = 0; i < 32; i++) {
		opened[i] = open("/", O_PATH | O_CLOEXEC);
		if (opened[i] < 0)
			break;
	}
	r = errno;
	/* They are the child's, and all go with it, but what comes next needs some. Not
	 * as a range: they fill gaps. */
	for (int k = 0; k < i; k++)
		(void)close(opened[k]);
	if (i == 32 || r != EMFILE)
		return say(p, EPERM, "RLIMIT_NOFILE did not hold");
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_cur > 1 || core.rlim_max > 1)
		return say(p, EPERM, "RLIMIT_CORE did not hold");
	return say(p, 0, "open files, file size and core dumps are bounded");
}

/* The order matters: /proc is needed until it is replaced, everything else until the root
 * is, capabilities until they are dropped, and a filter comes last, as in child.c. */
static int try_together(struct probe *p)
{
	static int (*const steps[])(struct probe * p) = {
		try_pid,  try_time,  try_ipc,     try_cgroup, try_uts,      try_net,
		try_proc, try_mount, try_rlimits, try_caps,   try_landlock, try_seccomp,
	};
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i](p) < 0)
			return -p->errnum;
	return say(p, 0, "all of them together");
}

/* ---- in the caller ---- */

static void prepare(struct probe *p)
{
	struct timespec now = { 0 };

	memset(p, 0, sizeof(*p));
	p->uid = geteuid();
	p->gid = getegid();
	(void)stat("/proc/self/ns/ipc", &p->ipc);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	p->monotonic_s = (uint64_t)now.tv_sec;
}

static _Noreturn void child(struct probe *p, uint64_t flags, int (*try)(struct probe *p),
			    int out, int parent_out)
{
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A change of ids or the starter itself may have cleared it; then
	 * /proc/self/uid_map is not ours to write. */
	(void)prctl(PR_SET_DUMPABLE, 1);
	(void)close(parent_out);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGCHLD, SIG_DFL);
	if (!(flags & CLONE_NEWUSER) || map_ids(p) == 0)
		(void)try(p);
	_exit(fd_write_all(out, p, sizeof(*p)) == 0 ? 0 : 1);
}

/* Waits for the answer, PROBE_MS at most. */
static int await(int fd, struct probe *p)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&ready, 1, PROBE_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return say(p, r < 0 ? errno : ETIMEDOUT, "the probe did not end in %d ms",
			   PROBE_MS);
	/* One write of less than PIPE_BUF: all or nothing. */
	if (fd_read_all(fd, p, sizeof(*p)) != (ssize_t)sizeof(*p))
		return say(p, ECHILD, "the probe died");
	return -p->errnum;
}

static int run(struct probe *p, uint64_t flags, int (*try)(struct probe *p))
{
	_cleanup_fd_ int in = -1, out = -1, pidfd = -1;
	struct clone_args args = { .flags = flags | CLONE_PIDFD };
	siginfo_t info;
	int fds[2], r;
	pid_t pid;

	prepare(p);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return say(p, errno, "pipe");
	in = fds[0];
	out = fds[1];
	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return say(p, errno, "clone3 with new namespaces");
	if (pid == 0)
		child(p, flags, try, out, in);
	fd_close(&out);
	r = await(in, p);
	(void)k_pidfd_send_signal(pidfd, SIGKILL);
	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 &&
	       errno == EINTR)
		;
	return r;
}

/* A setting of the host that refuses namespaces to the unprivileged, with its value. */
static void add_cause(char *detail, size_t size)
{
	static const struct {
		const char *path, *name;
		char bad;
	} settings[] = {
		{ "/proc/sys/kernel/unprivileged_userns_clone",
		  "kernel.unprivileged_userns_clone", '0' },
		{ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		  "kernel.apparmor_restrict_unprivileged_userns", '1' },
		{ "/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", '0' },
	};
	size_t i, len;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		_cleanup_fd_ int fd = open(settings[i].path, O_RDONLY | O_CLOEXEC);
		char value[8] = "";

		if (fd < 0 || fd_read_all(fd, value, sizeof(value) - 1) < 1 ||
		    value[0] != settings[i].bad || (value[1] != '\n' && value[1] != '\0'))
			continue;
		len = strlen(detail);
		if (len < size)
			(void)snprintf(detail + len, size - len, " (%s is %c)",
				       settings[i].name, value[0]);
	}
}

static int probe(uint64_t flags, int (*try)(struct probe *p), char *detail, size_t size)
{
	struct probe p;
	int r = run(&p, flags, try);

	p.text[sizeof(p.text) - 1] = '\0';
	if (r == 0) {
		(void)snprintf(detail, size, "%s", p.text);
		return 0;
	}
	if (p.explained)
		(void)snprintf(detail, size, "%s", p.text);
	else
		(void)snprintf(detail, size, "%s: %s", p.text, strerror(-r));
	if (flags & CLONE_NEWUSER)
		add_cause(detail, size);
	return r;
}

int probe_user(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER, try_user, detail, size);
}

int probe_pid(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWPID, try_pid, detail, size);
}

int probe_mount(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWNS, try_mount, detail, size);
}

int probe_net(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWNET, try_net, detail, size);
}

int probe_ipc(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWIPC, try_ipc, detail, size);
}

int probe_uts(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWUTS, try_uts, detail, size);
}

int probe_cgroup(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWCGROUP, try_cgroup, detail, size);
}

int probe_time(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER, try_time, detail, size);
}

int probe_proc(char *detail, size_t size)
{
	return probe(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS, try_proc, detail, size);
}

int probe_caps(char *detail, size_t size)
{
	int r = probe(CLONE_NEWUSER, try_caps, detail, size);

	/* Without a user namespace they are what the starter has; an ordinary user has
	 * none but the bounding set. */
	return r < 0 ? probe(0, try_caps, detail, size) : r;
}

int probe_landlock(char *detail, size_t size)
{
	return probe(0, try_landlock, detail, size);
}

int probe_seccomp(char *detail, size_t size)
{
	return probe(0, try_seccomp, detail, size);
}

int probe_rlimits(char *detail, size_t size)
{
	return probe(0, try_rlimits, detail, size);
}

int probe_together(char *detail, size_t size)
{
	return probe(NAMESPACES, try_together, detail, size);
}
