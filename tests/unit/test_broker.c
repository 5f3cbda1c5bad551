/* SPDX-License-Identifier: MIT
 * Purpose: what a taken-over engine could ask for. A real broker (this program again, as
 *   spawn.c starts it) starts this program as its engine, which hands its sockets out; the
 *   test asks in its place. As root and as an ordinary user. Each attack has its control:
 *   the same request, in order, is served. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "daemon/broker.h"
#include "daemon/opened.h"
#include "lib/offer.h"
#include "lib/spawn.h"

/* What the engine hands out: its two sockets, and children: a plain one, one in a user
 * namespace, and one in a namespace inside of that. */
enum { QUICK, MOVER, PLAIN, NESTED, DEEPER, HANDED };

/* ---- the engine ---- */

static pid_t child(uint64_t flags, int *ret_pidfd)
{
	struct clone_args args = { .flags = CLONE_PIDFD | flags, .exit_signal = SIGCHLD };
	pid_t parent = getpid(), pid;

	args.pidfd = (uint64_t)(uintptr_t)ret_pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	/* It may have been killed before it is asked for. */
	if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		_exit(1);
	return pid;
}

static int engine_role(void)
{
	struct broker_hello hello;
	int fds[HANDED] = { [QUICK] = ROLE_BROKER_FD, [MOVER] = ROLE_MOVER_FD };
	int pair[2];
	char byte;

	if (wire_recv(ROLE_BROKER_FD, &hello, sizeof(hello), NULL, 0, NULL) < 0 ||
	    wire_pair(SOCK_SEQPACKET, pair) < 0)
		return 1;
	if (child(0, &fds[PLAIN]) == 0)
		for (;;)
			(void)pause();
	if (child(CLONE_NEWUSER, &fds[NESTED]) == 0) {
		int deeper;

		if (child(CLONE_NEWUSER, &deeper) == 0)
			for (;;)
				(void)pause();
		(void)wire_send(pair[1], "x", 1, &deeper, 1);
		for (;;)
			(void)pause();
	}
	if (wire_recv(pair[0], &byte, 1, &fds[DEEPER], 1, NULL) < 0 ||
	    wire_send(ROLE_DOOR_FD, &hello, sizeof(hello), fds, HANDED) < 0)
		return 1;
	while (read(ROLE_DOOR_FD, &byte, 1) > 0)
		;
	return 0;
}

/* ---- the test's end ---- */

struct rig {
	struct spawned spawned;
	int fds[HANDED];
	char dir[64]; /* 0700 */
	struct sockaddr_un address;
	int listener;
};

static void rig_up(struct rig *rig)
{
	struct spawn_options options = { .binary = "/proc/self/exe",
					 .door = true,
					 .listener_count = 1,
					 .journal_fd = -1 };
	struct broker_hello hello;
	struct sbx_err err = { 0 };
	size_t count = 0;

	memset(rig, 0, sizeof(*rig));
	strcpy(rig->dir, "/tmp/test-broker-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	rig->address.sun_family = AF_UNIX;
	(void)snprintf(rig->address.sun_path, sizeof(rig->address.sun_path), "%s/s",
		       rig->dir);
	rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(rig->listener, (struct sockaddr *)&rig->address,
			      sizeof(rig->address)),
			 0);
	assert_int_equal(listen(rig->listener, 16), 0);
	options.listeners = &rig->listener;
	if (spawn_broker(&options, &rig->spawned, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(wire_recv(rig->spawned.door, &hello, sizeof(hello), rig->fds,
				   HANDED, &count),
			 0);
	assert_int_equal(count, HANDED);
	assert_int_equal(hello.root, geteuid() == 0);
}

static int rig_down(struct rig *rig)
{
	int status = spawn_end(&rig->spawned);

	for (int i = 0; i < HANDED; i++)
		fd_close(&rig->fds[i]);
	fd_close(&rig->listener);
	(void)unlink(rig->address.sun_path);
	assert_int_equal(rmdir(rig->dir), 0);
	return status;
}

/* 0: answered, -EPIPE: the broker has ended. */
static int ask(struct rig *rig, int socket, const struct broker_request *request, int fd,
	       struct broker_reply *reply, int *ret_fd)
{
	int got = -1, r;
	size_t count = 0;

	r = wire_send(rig->fds[socket], request, sizeof(*request), &fd, fd >= 0 ? 1 : 0);
	if (r == 0)
		r = wire_recv(rig->fds[socket], reply, sizeof(*reply), &got, 1, &count);
	if (r == 0 && ret_fd)
		*ret_fd = count ? got : -1;
	else if (r == 0 && count)
		(void)close(got);
	return r;
}

/* The stage of the answer, SBX_AT_NONE if it was served. */
static int served(struct rig *rig, const struct broker_request *request, int fd,
		  struct broker_reply *reply, int *ret_fd)
{
	struct broker_reply own;

	reply = reply ? reply : &own;
	assert_int_equal(ask(rig, QUICK, request, fd, reply, ret_fd), 0);
	return (int)reply->err.stage;
}

static struct broker_request about(uint32_t op, const char *path, uint32_t flags)
{
	struct broker_request request = { .op = op, .tree_flags = flags };

	(void)snprintf(request.path, sizeof(request.path), "%s", path ? path : "");
	return request;
}

/* ---- requests that no engine sends ---- */

struct attack {
	const char *what;
	struct broker_request request;
	int socket; /* QUICK or MOVER */
	int fd;     /* of rig.fds, -1: none, or one of these: */
	bool as_root_too;
};
enum { OF_PARENT = 100, NO_PIDFD, DOOR, LISTENER };

static int attack_fd(struct rig *rig, int kind)
{
	switch (kind) {
	case OF_PARENT: /* of the starter's uid: as root that is a stranger's */
		return k_pidfd_open(getpid(), 0);
	case NO_PIDFD:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	case DOOR:
		return dup(rig->spawned.door);
	case LISTENER:
		return dup(rig->listener);
	default:
		return kind < 0 ? -1 : dup(rig->fds[kind]);
	}
}

/* The broker ends, the engine with it, and the status says so. */
static void ends(const char *what, const void *packet, size_t len, int socket, int kind,
		 int fd_count)
{
	struct rig rig;
	struct broker_reply reply;
	struct pollfd gone;
	int fds[3], r;

	rig_up(&rig);
	for (int i = 0; i < fd_count; i++)
		fds[i] = attack_fd(&rig, kind);
	assert_int_equal(wire_send(rig.fds[socket], packet, len, fds, (size_t)fd_count),
			 0);
	r = wire_recv(rig.fds[socket], &reply, sizeof(reply), NULL, 0, NULL);
	if (r != -EPIPE)
		fail_msg("%s: answered: %d %s", what, r, r == 0 ? reply.err.msg : "");
	gone = (struct pollfd){ .fd = rig.spawned.pidfd, .events = POLLIN };
	assert_int_equal(poll(&gone, 1, 10000), 1);
	assert_int_equal(poll(&(struct pollfd){ .fd = rig.fds[PLAIN], .events = POLLIN },
			      1, 10000),
			 1);
	for (int i = 0; i < fd_count; i++)
		(void)close(fds[i]);
	assert_int_equal(rig_down(&rig), 125);
}

static void test_what_is_not_in_the_table(void **state)
{
	static const struct attack attacks[] = {
		{ "no such request", { .op = 0 }, QUICK, -1, true },
		{ "one more", { .op = BROKER_DROP + 1 }, QUICK, -1, true },
		{ "the largest", { .op = ~0u }, MOVER, PLAIN, true },
		{ "on the other socket",
		  { .op = BROKER_CGROUP_ENTER },
		  QUICK,
		  PLAIN,
		  true },
		{ "on the other socket", { .op = BROKER_MAP_IDS }, MOVER, NESTED, true },
		{ "no descriptor", { .op = BROKER_CGROUP_ENTER }, MOVER, -1, true },
		{ "a path",
		  { .op = BROKER_CGROUP_ENTER, .path = "/" },
		  MOVER,
		  PLAIN,
		  true },
		{ "flags",
		  { .op = BROKER_CGROUP_ENTER, .tree_flags = 1 },
		  MOVER,
		  PLAIN,
		  true },
		{ "no pidfd", { .op = BROKER_CGROUP_ENTER }, MOVER, NO_PIDFD, true },
		{ "a stranger", { .op = BROKER_CGROUP_ENTER }, MOVER, OF_PARENT, false },
		{ "no descriptor", { .op = BROKER_MAP_IDS }, QUICK, -1, true },
		{ "no such span",
		  { .op = BROKER_MAP_IDS, .index = 15 },
		  QUICK,
		  NESTED,
		  true },
		{ "the host's namespace", { .op = BROKER_MAP_IDS }, QUICK, PLAIN, true },
		{ "a namespace in one", { .op = BROKER_MAP_IDS }, QUICK, DEEPER, true },
		{ "a stranger", { .op = BROKER_MAP_IDS }, QUICK, OF_PARENT, true },
		{ "no path", { .op = BROKER_RESOLVE }, QUICK, -1, true },
		{ "relative", { .op = BROKER_RESOLVE, .path = "etc" }, QUICK, -1, true },
		{ "bytes behind",
		  { .op = BROKER_RESOLVE, .path = "/etc\0x" },
		  QUICK,
		  -1,
		  true },
		{ "to write",
		  { .op = BROKER_OPEN_SHOWN,
		    .path = "/etc",
		    .tree_flags = TREE_WRITABLE },
		  QUICK,
		  -1,
		  true },
		{ "unknown flag",
		  { .op = BROKER_OPEN_SHOWN, .path = "/etc", .tree_flags = 8 },
		  QUICK,
		  -1,
		  true },
		{ "unknown flag",
		  { .op = BROKER_GRANT, .path = "/etc", .tree_flags = 1u << 31 },
		  QUICK,
		  -1,
		  true },
		/* Sockets whose SO_PEERCRED says root. */
		{ "the door", { .op = BROKER_GRANT, .path = "/etc" }, QUICK, DOOR, true },
		{ "the listener",
		  { .op = BROKER_GRANT, .path = "/etc" },
		  QUICK,
		  LISTENER,
		  true },
		{ "its own socket",
		  { .op = BROKER_GRANT, .path = "/etc" },
		  QUICK,
		  QUICK,
		  true },
		{ "the door",
		  { .op = BROKER_OPEN_SHOWN, .path = "/root" },
		  QUICK,
		  DOOR,
		  true },
		{ "a descriptor", { .op = BROKER_OPEN_TREE }, QUICK, DOOR, true },
		{ "a path", { .op = BROKER_OPEN_TREE, .path = "/etc" }, QUICK, -1, true },
		{ "nobody's", { .op = BROKER_DROP, .grant = 1 }, QUICK, -1, true },
		{ "the command's",
		  { .op = BROKER_DROP, .grant = OFFERED | 1 },
		  QUICK,
		  -1,
		  true },
	};

	bool tried[BROKER_DROP + 1] = { false };

	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		const struct attack *a = &attacks[i];

		if (a->request.op <= BROKER_DROP)
			tried[a->request.op] = true;

		/* As an ordinary user what has the starter's uid is the engine's own. */
		if (a->as_root_too || geteuid() == 0)
			ends(a->what, &a->request, sizeof(a->request), a->socket, a->fd,
			     a->fd >= 0);
	}
	/* broker_ops.c asserts that the table ends with BROKER_DROP. */
	for (uint32_t op = BROKER_MAP_IDS; op <= BROKER_DROP; op++)
		assert_true(tried[op]);
}

static void test_wrong_sizes(void **state)
{
	struct {
		struct broker_request request;
		char more[8];
	} longer = { .request = { .op = BROKER_RESOLVE, .path = "/" } };
	struct broker_request request = { .op = BROKER_RESOLVE };

	(void)state;
	ends("short", &longer.request, sizeof(longer.request) - 1, QUICK, -1, 0);
	ends("long", &longer, sizeof(longer), QUICK, -1, 0);
	ends("a byte", &longer.request, 1, MOVER, -1, 0);
	memset(request.path, '/', sizeof(request.path));
	ends("no end of the path", &request, sizeof(request), QUICK, -1, 0);
	request = (struct broker_request){ .op = BROKER_CGROUP_ENTER };
	ends("two descriptors", &request, sizeof(request), MOVER, PLAIN, 2);
}

static void test_an_ordinary_user_has_no_more_to_ask_for(void **state)
{
	(void)state;
	if (geteuid() == 0)
		skip();
	for (uint32_t op = BROKER_MAP_IDS; op <= BROKER_DROP; op++) {
		struct broker_request request = about(op, NULL, 0);

		if (op == BROKER_CGROUP_ENTER)
			continue;
		if (op == BROKER_RESOLVE || op == BROKER_OPEN_SHOWN || op == BROKER_GRANT)
			strcpy(request.path, "/usr");
		ends("root's", &request, sizeof(request), QUICK, NESTED,
		     op == BROKER_MAP_IDS);
	}
}

/* ---- what is served, and what is an answer all the same ---- */

static void test_processes(void **state)
{
	struct broker_request request = { .op = BROKER_CGROUP_ENTER, .index = 0 };
	struct broker_reply reply;
	struct rig rig;
	char path[64], text[256];
	pid_t pid;
	int fd;

	(void)state;
	rig_up(&rig);
	if (rig.spawned.hello.cgroup.version != CGROUP_NONE) {
		assert_int_equal(ask(&rig, MOVER, &request, rig.fds[PLAIN], &reply, NULL),
				 0);
		assert_int_equal(reply.err.stage, SBX_AT_JAIL); /* no such group */
		assert_int_equal(cgroup_make(&rig.spawned.hello.cgroup, 0, NULL), 0);
		assert_int_equal(ask(&rig, MOVER, &request, rig.fds[PLAIN], &reply, NULL),
				 0);
		assert_int_equal(reply.err.stage, SBX_AT_NONE);
	}
	if (geteuid() == 0) {
		request = (struct broker_request){ .op = BROKER_MAP_IDS, .index = 3 };
		assert_int_equal(served(&rig, &request, rig.fds[NESTED], NULL, NULL),
				 SBX_AT_NONE);
		assert_int_equal(fd_pidfd_host_pid(rig.fds[NESTED], &pid), 0);
		(void)snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, text, sizeof(text)) > 0);
		(void)close(fd);
		assert_int_equal(strtoul(text + strspn(text, " 0"), NULL, 10),
				 rig.spawned.hello.ids_base + 3 * IDS_PER_TEMPLATE);
		/* A second map of the same namespace is the kernel's to refuse. */
		assert_int_equal(served(&rig, &request, rig.fds[NESTED], NULL, NULL),
				 SBX_AT_JAIL);
	}
	assert_int_equal(rig_down(&rig), 0);
}

/* A connection to address, by a process of this uid: the accepted end, and the other. */
static int connection(const struct rig *rig, uid_t uid, int *ret_far)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	assert_int_equal(chmod(rig->dir, 0711), 0);
	assert_int_equal(chmod(rig->address.sun_path, 0666), 0);
	assert_int_equal(syscall(SYS_setresgid, -1, uid, -1), 0);
	assert_int_equal(syscall(SYS_setresuid, -1, uid, -1), 0);
	r = connect(fd, (const struct sockaddr *)&rig->address, sizeof(rig->address));
	assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
	assert_int_equal(syscall(SYS_setresgid, -1, 0, -1), 0);
	assert_int_equal(r, 0);
	assert_int_equal(chmod(rig->dir, 0700), 0);
	*ret_far = fd;
	return accept4(rig->listener, NULL, NULL, SOCK_CLOEXEC);
}

static bool is_read_only(int tree)
{
	struct statvfs st;

	return fstatvfs(tree, &st) == 0 && (st.f_flag & ST_RDONLY);
}

/* dir/private (0700, root's) with file; dir/link to it; dir/theirs of uid 4321. */
static void make_tree(const struct rig *rig, char private[96], char theirs[96])
{
	char path[128];
	int fd;

	(void)snprintf(private, 96, "%s/private", rig->dir);
	(void)snprintf(theirs, 96, "%s/theirs", rig->dir);
	assert_int_equal(mkdir(private, 0700), 0);
	assert_int_equal(mkdir(theirs, 0700), 0);
	assert_int_equal(chown(theirs, 4321, 4321), 0);
	(void)snprintf(path, sizeof(path), "%s/file", private);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s/link", rig->dir);
	assert_int_equal(symlink(private, path), 0);
}

static void remove_tree(const struct rig *rig)
{
	static const char *const names[] = { "private/file", "link" };
	char path[128];

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", rig->dir, names[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/private", rig->dir);
	(void)rmdir(path);
	(void)snprintf(path, sizeof(path), "%s/theirs", rig->dir);
	(void)rmdir(path);
}

static void test_without_a_caller_only_what_everybody_may(void **state)
{
	static const char *const never[] = { "/etc/shadow", "/root", "/etc" };
	char private[96], theirs[96], path[128];
	struct broker_request request;
	struct broker_reply reply;
	struct rig rig;
	int tree = -1, tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	if (geteuid() != 0)
		skip();
	rig_up(&rig);
	make_tree(&rig, private, theirs);
	for (size_t i = 0; i < 3; i++)
		for (int j = 0; j < 2; j++) {
			request = about(BROKER_GRANT, never[i], 0);
			assert_int_equal(
				served(&rig, &request, j ? tcp : -1, &reply, NULL),
				SBX_AT_GRANT);
			assert_int_equal(reply.grant, 0);
		}
	request = about(BROKER_OPEN_SHOWN, "/etc/shadow", TREE_FILE);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	request = about(BROKER_OPEN_SHOWN, private, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	(void)snprintf(path, sizeof(path), "%s/file", private);
	request = about(BROKER_RESOLVE, path, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	request = about(BROKER_OPEN_TREE, NULL, 0);
	for (uint32_t grant = 0; grant < 64; grant++) {
		request.grant = grant % 2 ? grant / 2 : OFFERED | grant / 2;
		assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	}
	/* The controls: the machine's own, and what the starter names. */
	request = about(BROKER_OPEN_SHOWN, "/usr", TREE_EXEC);
	assert_int_equal(served(&rig, &request, -1, NULL, &tree), SBX_AT_NONE);
	assert_true(is_read_only(tree));
	(void)close(tree);
	{
		struct broker_offer offer = { .kind = OFFER_SHOWN };

		strcpy(offer.path, private);
		assert_int_equal(
			wire_send(rig.spawned.lifeline, &offer, sizeof(offer), NULL, 0),
			0);
	}
	request = about(BROKER_RESOLVE, path, 0);
	assert_int_equal(served(&rig, &request, -1, &reply, NULL), SBX_AT_NONE);
	assert_string_equal(reply.path, path);
	request = about(BROKER_OPEN_SHOWN, private, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, &tree), SBX_AT_NONE);
	assert_true(is_read_only(tree));
	(void)close(tree);
	/* Neither through links nor past it. */
	(void)snprintf(path, sizeof(path), "%s/../theirs", private);
	request = about(BROKER_OPEN_SHOWN, path, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	(void)snprintf(path, sizeof(path), "%s/link", rig.dir);
	request = about(BROKER_OPEN_SHOWN, path, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	/* It shows places, it grants none. */
	request = about(BROKER_GRANT, private, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	(void)close(tcp);
	remove_tree(&rig);
	assert_int_equal(rig_down(&rig), 0);
}

static void test_grantable_directories(void **state)
{
	char private[96], theirs[96], path[128];
	struct broker_request request;
	struct broker_reply reply;
	struct sbx_err err = { 0 };
	struct rig rig;
	int tree;

	(void)state;
	if (geteuid() != 0)
		skip();
	rig_up(&rig);
	make_tree(&rig, private, theirs);
	(void)snprintf(path, sizeof(path), "%s:ro", private);
	assert_int_equal(offer_grantable(&rig.spawned, path, &err), 0);
	request = about(BROKER_GRANT, private, TREE_WRITABLE);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	(void)snprintf(path, sizeof(path), "%s/../theirs", private);
	request = about(BROKER_GRANT, path, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	request = about(BROKER_GRANT, theirs, 0);
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	(void)snprintf(path, sizeof(path), "%s/file", private);
	request = about(BROKER_GRANT, path, 0);
	assert_int_equal(served(&rig, &request, -1, &reply, NULL), SBX_AT_NONE);
	assert_string_equal(reply.path, path);
	request = about(BROKER_OPEN_TREE, NULL, 0);
	request.grant = reply.grant;
	request.uid_index = 1;
	assert_int_equal(served(&rig, &request, -1, NULL, &tree), SBX_AT_NONE);
	assert_true(is_read_only(tree));
	(void)close(tree);
	request = about(BROKER_DROP, NULL, 0);
	request.grant = reply.grant;
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_NONE);
	request.op = BROKER_OPEN_TREE;
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_GRANT);
	remove_tree(&rig);
	assert_int_equal(rig_down(&rig), 0);
}

static void test_callers(void **state)
{
	char private[96], theirs[96];
	struct broker_request request;
	struct broker_reply reply;
	struct stat st;
	struct rig rig;
	int root, root_far, user, user_far, tree;

	(void)state;
	if (geteuid() != 0)
		skip();
	rig_up(&rig);
	make_tree(&rig, private, theirs);
	root = connection(&rig, 0, &root_far);
	user = connection(&rig, 4321, &user_far);
	assert_int_equal(chmod(rig.dir, 0711), 0);
	request = about(BROKER_GRANT, private, 0);
	assert_int_equal(served(&rig, &request, user, NULL, NULL), SBX_AT_GRANT);
	assert_int_equal(served(&rig, &request, root, NULL, NULL), SBX_AT_NONE);
	/* The caller's own user's places are shown; another's rights show nothing more. */
	request = about(BROKER_OPEN_SHOWN, theirs, 0);
	assert_int_equal(served(&rig, &request, user, NULL, NULL), SBX_AT_GRANT);
	request = about(BROKER_GRANT, theirs, TREE_WRITABLE);
	assert_int_equal(served(&rig, &request, user, &reply, NULL), SBX_AT_NONE);
	request = about(BROKER_OPEN_TREE, NULL, TREE_WRITABLE);
	request.grant = reply.grant;
	request.index = 2;
	request.uid_index = 7;
	assert_int_equal(served(&rig, &request, -1, NULL, &tree), SBX_AT_NONE);
	assert_false(is_read_only(tree));
	assert_int_equal(fstat(tree, &st), 0);
	assert_int_equal(st.st_uid,
			 rig.spawned.hello.ids_base + 2 * IDS_PER_TEMPLATE + 7);
	(void)close(tree);
	/* One that has gone has no rights left, however long the engine keeps his socket. */
	(void)close(root_far);
	request = about(BROKER_GRANT, private, 0);
	assert_int_equal(served(&rig, &request, root, NULL, NULL), SBX_AT_GRANT);
	request = about(BROKER_OPEN_SHOWN, private, 0);
	assert_int_equal(served(&rig, &request, root, NULL, NULL), SBX_AT_GRANT);
	(void)close(root);
	(void)close(user);
	(void)close(user_far);
	remove_tree(&rig);
	assert_int_equal(rig_down(&rig), 0);
}

/* Sockets that look like root's connection: the far end of one, and one that another
 * listener with the same name accepted. */
static void test_forged_callers(void **state)
{
	struct broker_request request = about(BROKER_GRANT, "/root", 0);
	struct broker_reply reply;
	struct rig rig;

	(void)state;
	if (geteuid() != 0)
		skip();
	for (int i = 0; i < 2; i++) {
		struct rig other;
		int near, far;

		rig_up(&rig);
		near = connection(&rig, 0, &far);
		if (i == 1) {
			(void)close(near);
			(void)close(far);
			other = rig;
			other.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
			assert_int_equal(unlink(rig.address.sun_path), 0);
			assert_int_equal(bind(other.listener,
					      (struct sockaddr *)&rig.address,
					      sizeof(rig.address)),
					 0);
			assert_int_equal(listen(other.listener, 4), 0);
			near = connection(&other, 0, &far);
			(void)close(other.listener);
		}
		assert_int_equal(ask(&rig, QUICK, &request, i ? near : far, &reply, NULL),
				 -EPIPE);
		(void)close(near);
		(void)close(far);
		assert_int_equal(rig_down(&rig), 125);
	}
}

/* What the command offered to read is no more to an engine that wants to write. */
static void test_more_than_was_offered(void **state)
{
	struct broker_offer offer = { .kind = OFFER_GRANT, .grant = OFFERED | 9 };
	struct broker_request request = { .op = BROKER_OPEN_TREE, .grant = OFFERED | 9 };
	struct broker_reply reply;
	struct rig rig;
	int fd, tree;

	(void)state;
	if (geteuid() != 0)
		skip();
	for (int i = 0; i < 3; i++) {
		rig_up(&rig);
		fd = open(rig.dir, O_PATH | O_CLOEXEC);
		assert_int_equal(
			wire_send(rig.spawned.lifeline, &offer, sizeof(offer), &fd, 1),
			0);
		(void)close(fd);
		request.tree_flags = request.index = 0;
		assert_int_equal(served(&rig, &request, -1, NULL, &tree), SBX_AT_NONE);
		assert_true(is_read_only(tree));
		(void)close(tree);
		if (i == 0)
			request.tree_flags = TREE_WRITABLE;
		else if (i == 1)
			request.index = 15;
		else
			offer_withdraw(&rig.spawned, 9, 1);
		if (i < 2) {
			assert_int_equal(ask(&rig, QUICK, &request, -1, &reply, NULL),
					 -EPIPE);
		} else {
			assert_int_equal(served(&rig, &request, -1, NULL, NULL),
					 SBX_AT_GRANT);
		}
		assert_int_equal(rig_down(&rig), i < 2 ? 125 : 0);
	}
}

static void test_floods(void **state)
{
	struct broker_request request = about(BROKER_GRANT, "/usr/share", 0);
	struct broker_reply reply = { 0 };
	struct rig rig;
	int near, far, count;

	(void)state;
	if (geteuid() != 0)
		skip();
	rig_up(&rig);
	near = connection(&rig, 0, &far);
	for (count = 0; count <= GRANTS_OPEN_MAX; count++)
		if (served(&rig, &request, near, &reply, NULL) != SBX_AT_NONE)
			break;
	assert_in_range(count, 64, GRANTS_OPEN_MAX);
	/* Full is an answer; what is given back can be had again. */
	request = about(BROKER_DROP, NULL, 0);
	request.grant = 1;
	assert_int_equal(served(&rig, &request, -1, NULL, NULL), SBX_AT_NONE);
	request = about(BROKER_GRANT, "/usr/share", 0);
	assert_int_equal(served(&rig, &request, near, NULL, NULL), SBX_AT_NONE);
	/* Many at once, unread: they are answered in order. */
	request = about(BROKER_RESOLVE, "/usr", 0);
	for (request.serial = 0; request.serial < 16; request.serial++)
		assert_int_equal(
			wire_send(rig.fds[QUICK], &request, sizeof(request), NULL, 0), 0);
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(
			wire_recv(rig.fds[QUICK], &reply, sizeof(reply), NULL, 0, NULL),
			0);
		assert_int_equal(reply.serial, i);
	}
	(void)close(near);
	(void)close(far);
	assert_int_equal(rig_down(&rig), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_in_the_table),
		cmocka_unit_test(test_wrong_sizes),
		cmocka_unit_test(test_an_ordinary_user_has_no_more_to_ask_for),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_without_a_caller_only_what_everybody_may),
		cmocka_unit_test(test_grantable_directories),
		cmocka_unit_test(test_callers),
		cmocka_unit_test(test_forged_callers),
		cmocka_unit_test(test_more_than_was_offered),
		cmocka_unit_test(test_floods),
	};

	if (argc > 1 && strcmp(argv[1], "--role=broker") == 0)
		return broker_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "--role=engine") == 0)
		return engine_role();
	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
