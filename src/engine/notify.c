/* SPDX-License-Identifier: MIT
 * Purpose: answers the user notifications of one worker's filter and tells of each
 * (notify.h).
 * Process: the engine, on its loop; it owns the user namespace above the worker's, which
 *   is what lets it read a worker's memory. Where it may not (or the call's task is gone)
 *   the subject stays empty and nothing else changes.
 * Trusts: the number and the arguments, which the kernel copied. Not what they point to:
 *   that is read once, bounded, made printable, and shown to people.
 * Invariants: no answer is ever "continue"; without a judge the answer is the table's
 *   errno and depends on no memory of the worker's; every call is answered whether or not
 *   it is told of. An engine that is gone leaves ENOSYS, by the kernel. */
#include "engine/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "jail/filter_table.h"

#define AT_ONCE 64 /* answers to one wake-up: other listeners want their turn */
#define AT_ONCE_DRAIN \
	4096 /* a program has at most one waiting call for each of its threads */
#define X32_BIT 0x40000000
#define JUDGES_MAX 8u
#define TOKEN 1000000u /* credit of one event; a microsecond earns per_second of it */

struct notify {
	struct loop *loop;
	struct loop_io *io;
	int listener;
	notify_fn fn;
	void *arg;
	struct seccomp_notif
		*request; /* of the kernel's size, which may be larger than ours */
	struct seccomp_notif_resp *response;
	size_t request_size, response_size;
	uint64_t credit, credit_max, per_second, credit_at_us;
	unsigned long long count, dropped;
	/* Bits, by number: the first of each call is told of whatever else was. */
	uint8_t told[512 / 8];
	bool *freed; /* within fn: where notify_free() leaves word */
	struct judge {
		int nr;
		notify_judge_fn fn;
		void *arg;
	} judges[JUDGES_MAX];
	size_t judge_count;
};

/* ---- what a call was about ---- */

struct word {
	uint32_t value;
	const char *name;
};

/* clang-format off */
static const struct word families[] = {
	{ AF_UNIX, "AF_UNIX" },	    { AF_INET, "AF_INET" },	{ AF_INET6, "AF_INET6" },
	{ AF_NETLINK, "AF_NETLINK" }, { AF_PACKET, "AF_PACKET" }, { AF_ALG, "AF_ALG" },
	{ AF_VSOCK, "AF_VSOCK" },   { 44, "AF_XDP" },		{ AF_BLUETOOTH, "AF_BLUETOOTH" },
	{ AF_CAN, "AF_CAN" },	    { AF_TIPC, "AF_TIPC" },	{ AF_RDS, "AF_RDS" },
	{ AF_KEY, "AF_KEY" },	    { AF_QIPCRTR, "AF_QIPCRTR" }, { 0, NULL },
};
static const struct word clone_flags[] = {
	{ CLONE_NEWUSER, "CLONE_NEWUSER" }, { CLONE_NEWNS, "CLONE_NEWNS" },	{ CLONE_NEWPID, "CLONE_NEWPID" },
	{ CLONE_NEWNET, "CLONE_NEWNET" },   { CLONE_NEWIPC, "CLONE_NEWIPC" },	{ CLONE_NEWUTS, "CLONE_NEWUTS" },
	{ CLONE_NEWTIME, "CLONE_NEWTIME" }, { CLONE_NEWCGROUP, "CLONE_NEWCGROUP" }, { CLONE_FS, "CLONE_FS" },
	{ CLONE_FILES, "CLONE_FILES" },	    { 0, NULL },
};
static const struct word send_flags[] = {
	{ MSG_OOB, "MSG_OOB" },
	{ MSG_FASTOPEN, "MSG_FASTOPEN" },
	{ 0, NULL },
};
static const struct word requests[] = {
	{ 0x5412, "TIOCSTI" },
	{ 0x541c, "TIOCLINUX" },
	{ 0, NULL },
};
static const struct word options[] = {
	{ 22, "PR_SET_SECCOMP" },
	{ 0, NULL },
};
static const struct word traces[] = {
	{ 0, "PTRACE_TRACEME" }, { PTRACE_PEEKTEXT, "PTRACE_PEEKTEXT" }, { PTRACE_PEEKDATA, "PTRACE_PEEKDATA" },
	{ PTRACE_POKETEXT, "PTRACE_POKETEXT" }, { PTRACE_POKEDATA, "PTRACE_POKEDATA" },
	{ PTRACE_ATTACH, "PTRACE_ATTACH" }, { PTRACE_SEIZE, "PTRACE_SEIZE" }, { 0, NULL },
};

enum how {
	AS_PATH,  /* a NUL-terminated string in the worker's memory */
	AS_ONE,	  /* one word of a list */
	AS_FLAGS, /* all words of a list whose bits are on */
	AS_OCTAL,
	AS_PAIR, /* two numbers: this argument and the next */
};

static const struct subject {
	int nr;
	unsigned arg;
	enum how how;
	const struct word *words;
} subjects[] = {
	{ SYS_execve, 0, AS_PATH, NULL },      { SYS_execveat, 1, AS_PATH, NULL },
	{ SYS_open, 0, AS_PATH, NULL },	       { SYS_openat, 1, AS_PATH, NULL },
	{ SYS_creat, 0, AS_PATH, NULL },       { SYS_chmod, 0, AS_PATH, NULL },
	{ SYS_fchmodat, 1, AS_PATH, NULL },    { SYS_fchmod, 1, AS_OCTAL, NULL },
	{ SYS_mknod, 0, AS_PATH, NULL },       { SYS_mknodat, 1, AS_PATH, NULL },
	{ SYS_mount, 1, AS_PATH, NULL },       { SYS_umount2, 0, AS_PATH, NULL },
	{ SYS_pivot_root, 0, AS_PATH, NULL },  { SYS_chroot, 0, AS_PATH, NULL },
	{ SYS_open_tree, 1, AS_PATH, NULL },   { SYS_move_mount, 1, AS_PATH, NULL },
	{ SYS_fsopen, 0, AS_PATH, NULL },      { SYS_fspick, 1, AS_PATH, NULL },
	{ SYS_mount_setattr, 1, AS_PATH, NULL }, { SYS_swapon, 0, AS_PATH, NULL },
	{ SYS_swapoff, 0, AS_PATH, NULL },     { SYS_acct, 0, AS_PATH, NULL },
	{ SYS_mq_open, 0, AS_PATH, NULL },     { SYS_mq_unlink, 0, AS_PATH, NULL },
	{ SYS_add_key, 0, AS_PATH, NULL },     { SYS_request_key, 0, AS_PATH, NULL },
	{ SYS_socket, 0, AS_ONE, families },   { SYS_socketpair, 0, AS_ONE, families },
	{ SYS_ioctl, 1, AS_ONE, requests },    { SYS_prctl, 0, AS_ONE, options },
	{ SYS_ptrace, 0, AS_ONE, traces },     { SYS_clone, 0, AS_FLAGS, clone_flags },
	{ SYS_unshare, 0, AS_FLAGS, clone_flags }, { SYS_setns, 1, AS_FLAGS, clone_flags },
	{ SYS_sendto, 3, AS_FLAGS, send_flags }, { SYS_sendmsg, 2, AS_FLAGS, send_flags },
	{ SYS_sendmmsg, 3, AS_FLAGS, send_flags }, { SYS_setsockopt, 1, AS_PAIR, NULL },
};
/* clang-format on */

/* What is not printable ASCII is written as \xNN, so that it can neither move a cursor
 * nor end a line. */
static void printable(const char *from, size_t len, char *ret, size_t size)
{
	size_t at = 0, i;

	for (i = 0; i < len && from[i]; i++) {
		unsigned char c = (unsigned char)from[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '\\';

		if (at + (plain ? 1 : 4) >= size)
			break;
		if (plain)
			ret[at++] = (char)c;
		else
			at += (size_t)snprintf(ret + at, size - at, "\\x%02x", c);
	}
	ret[at] = '\0';
}

/* Two parts, since the kernel reads each part whole or not at all and the second page may
 * not be there. */
static void read_string(pid_t pid, uint64_t address, char *ret, size_t size)
{
	char text[256];
	size_t page = 4096, first = page - (size_t)(address & (page - 1));
	struct iovec local = { .iov_base = text, .iov_len = sizeof(text) };
	struct iovec remote[2] = { { .iov_base = (void *)(uintptr_t)address,
				     .iov_len = sizeof(text) } };
	unsigned long parts = 1;
	ssize_t n;

	if (first < sizeof(text)) {
		remote[0].iov_len = first;
		remote[1] = (struct iovec){ .iov_base = (void *)(uintptr_t)(address +
									    first),
					    .iov_len = sizeof(text) - first };
		parts = 2;
	}
	n = process_vm_readv(pid, &local, 1, remote, parts, 0);
	if (n > 0)
		printable(text, (size_t)n, ret, size);
}

static void name_flags(const struct word *words, uint32_t value, char *ret, size_t size)
{
	size_t at = 0;

	for (; words->name; words++) {
		if (!(value & words->value))
			continue;
		at += (size_t)snprintf(ret + at, size - at, "%s%s", at ? "|" : "",
				       words->name);
		if (at >= size)
			return;
	}
}

static void name_one(const struct word *words, uint32_t value, char *ret, size_t size)
{
	for (; words->name; words++) {
		if (words->value == value) {
			(void)snprintf(ret, size, "%s", words->name);
			return;
		}
	}
	(void)snprintf(ret, size, "%#x", value);
}

static void describe(struct notify *n, const struct filter_call *call, char *ret,
		     size_t size)
{
	const struct seccomp_notif *req = n->request;
	uint64_t id = req->id;
	size_t i;

	ret[0] = '\0';
	if (call == &filter_foreign) {
		(void)snprintf(ret, size, "32-bit system call %d", req->data.nr);
		return;
	}
	if (call == &filter_unknown) {
		(void)snprintf(ret, size, "system call %d", req->data.nr);
		return;
	}
	for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		const struct subject *s = &subjects[i];
		uint64_t arg = req->data.args[s->arg];

		if (s->nr != req->data.nr)
			continue;
		switch (s->how) {
		case AS_PATH:
			read_string((pid_t)req->pid, arg, ret, size);
			/* Else the pid may have become another's while we read. */
			if (ioctl(n->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0)
				ret[0] = '\0';
			break;
		case AS_ONE:
			name_one(s->words, (uint32_t)arg, ret, size);
			break;
		case AS_FLAGS:
			name_flags(s->words, (uint32_t)arg, ret, size);
			break;
		case AS_OCTAL:
			(void)snprintf(ret, size, "mode %04o", (unsigned)arg & 07777u);
			break;
		case AS_PAIR:
			(void)snprintf(ret, size, "level %u, option %u", (unsigned)arg,
				       (unsigned)req->data.args[s->arg + 1]);
			break;
		}
		return;
	}
}

/* ---- answers ---- */

static bool may_tell(struct notify *n)
{
	uint64_t now = loop_now_us();
	uint64_t passed = now - n->credit_at_us;

	n->credit_at_us = now;
	/* An hour at most, so that the product stays small. */
	n->credit += (passed < 3600000000u ? passed : 3600000000u) * n->per_second;
	if (n->credit > n->credit_max)
		n->credit = n->credit_max;
	if (n->credit < TOKEN)
		return false;
	n->credit -= TOKEN;
	return true;
}

/* False: fn has freed *n. */
static bool pass_on(struct notify *n, struct notify_denial *denial)
{
	bool freed = false, *outer = n->freed;

	denial->dropped = n->dropped;
	n->dropped = 0;
	n->freed = &freed;
	n->fn(n->arg, denial);
	if (!freed) {
		n->freed = outer;
		return true;
	}
	if (outer)
		*outer = true;
	return false;
}

/* A judge has it. */
static bool is_taken(struct notify *n)
{
	const struct seccomp_data *data = &n->request->data;
	struct notify_call call = { .id = n->request->id,
				    .tid = (pid_t)n->request->pid,
				    .nr = data->nr };

	memcpy(call.args, data->args, sizeof(call.args));
	for (size_t i = 0; i < n->judge_count; i++)
		if (n->judges[i].nr == data->nr)
			return n->judges[i].fn(n->judges[i].arg, &call);
	return false;
}

static bool is_first(struct notify *n, const struct filter_call *call)
{
	/* One bit for all that have no row. */
	unsigned nr = call->nr >= 0 && call->nr < 511 ? (unsigned)call->nr : 511;
	uint8_t bit = (uint8_t)(1u << (nr & 7));
	bool first = !(n->told[nr / 8] & bit);

	n->told[nr / 8] |= bit;
	return first;
}

/* pidfd_open(2) wants a process; the caller may be one of its threads. */
static int open_process(pid_t tid)
{
	char path[48], text[1024];
	_cleanup_fd_ int file = -1;
	int fd = k_pidfd_open(tid, 0);
	const char *line;
	ssize_t len;

	if (fd >= 0 || (errno != EINVAL && errno != ENOENT))
		return fd < 0 ? -errno : fd;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	file = open(path, O_RDONLY | O_CLOEXEC);
	len = file < 0 ? -errno : fd_read_all(file, text, sizeof(text) - 1);
	if (len < 0)
		return (int)len;
	text[len] = '\0';
	line = strstr(text, "\nTgid:\t");
	fd = line ? k_pidfd_open((pid_t)strtol(line + 7, NULL, 10), 0) : -1;
	return fd < 0 ? -ESRCH : fd;
}

/* An entry that no program of x86_64 makes: it ends the process, and by us, since a death
 * by the filter itself would be in no record. */
static bool is_fatal(const struct seccomp_notif *request)
{
	return request->data.arch != AUDIT_ARCH_X86_64 ||
	       (request->data.nr != -1 && (request->data.nr & X32_BIT));
}

static void kill_caller(pid_t tid)
{
	_cleanup_fd_ int process = open_process(tid);

	/* While its call waits for the answer the number is nobody else's. */
	if (process >= 0)
		(void)k_pidfd_send_signal(process, SIGKILL);
}

/* Answers one. 1: answered; 0: nothing waits; -errno. fn may have freed *n: then
 * -ECANCELED. */
static int answer_one(struct notify *n)
{
	struct pollfd ready = { .fd = n->listener, .events = POLLIN };
	struct notify_denial denial = { 0 };
	bool tell;

	/* RECV would wait. */
	if (poll(&ready, 1, 0) <= 0 || !(ready.revents & POLLIN))
		return 0;
	memset(n->request, 0, n->request_size);
	if (ioctl(n->listener, SECCOMP_IOCTL_NOTIF_RECV, n->request) < 0)
		return errno == ENOENT || errno == EINTR
			       ? 1
			       : -errno; /* ENOENT: its task has just died */
	if (n->request->data.arch == AUDIT_ARCH_X86_64 && is_taken(n))
		return 1;
	denial.call = n->request->data.arch == AUDIT_ARCH_X86_64
			      ? filter_describe_call(
					n->request->data.nr,
					(const uint64_t *)n->request->data.args)
			      : &filter_foreign;
	n->count++;
	tell = is_first(n, denial.call);
	tell = may_tell(n) || tell;
	/* Before the answer: afterwards the memory is another call's. */
	if (tell)
		describe(n, denial.call, denial.subject, sizeof(denial.subject));
	if (is_fatal(n->request))
		kill_caller((pid_t)n->request->pid);
	memset(n->response, 0, n->response_size);
	n->response->id = n->request->id;
	n->response->error = -(denial.call->errnum > 0 ? denial.call->errnum : EPERM);
	/* ENOENT: killed meanwhile. Whatever else it may be, the call was not let
	 * through. */
	(void)ioctl(n->listener, SECCOMP_IOCTL_NOTIF_SEND, n->response);
	if (!tell) {
		n->dropped++;
		return 1;
	}
	return pass_on(n, &denial) ? 1 : -ECANCELED;
}

static void on_listener(void *arg, uint32_t events)
{
	struct notify *n = arg;
	int r = 1, i;

	for (i = 0; i < AT_ONCE && r == 1; i++)
		r = answer_one(n);
	if (r == -ECANCELED)
		return;
	/* HUP: no process is left under this filter. */
	if (r < 0 || (r == 0 && (events & (EPOLLHUP | EPOLLERR))))
		loop_remove(&n->io);
}

static int make_room(struct notify *n)
{
	struct seccomp_notif_sizes sizes = { 0 };

	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return -errno;
	n->request_size = sizes.seccomp_notif > sizeof(*n->request) ? sizes.seccomp_notif
								    : sizeof(*n->request);
	n->response_size = sizes.seccomp_notif_resp > sizeof(*n->response)
				   ? sizes.seccomp_notif_resp
				   : sizeof(*n->response);
	n->request = calloc(1, n->request_size);
	n->response = calloc(1, n->response_size);
	return n->request && n->response ? 0 : -ENOMEM;
}

int notify_new(struct loop *loop, int listener, unsigned burst, unsigned per_second,
	       notify_fn fn, void *arg, struct notify **ret, struct sbx_err *err)
{
	struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n) {
		(void)close(listener);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "a seccomp listener");
	}
	*n = (struct notify){
		.loop = loop,
		.listener = listener,
		.fn = fn,
		.arg = arg,
		.credit = (uint64_t)burst * TOKEN,
		.credit_max = (uint64_t)burst * TOKEN,
		.per_second = per_second,
		.credit_at_us = loop_now_us(),
	};
	r = make_room(n);
	/* 6.6: the waiting task is woken on this CPU, which is about to sleep. EINVAL
	 * before that: slower, no more. */
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
		    SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	if (r == 0)
		r = loop_add(loop, listener, EPOLLIN, on_listener, n, &n->io);
	if (r < 0) {
		notify_free(&n);
		return err_set(err, SBX_AT_ENGINE, -r, "watching a seccomp listener");
	}
	*ret = n;
	return 0;
}

unsigned long long notify_count(const struct notify *notify)
{
	return notify->count;
}

void notify_drain(struct notify *notify)
{
	int i;

	for (i = 0; i < AT_ONCE_DRAIN && answer_one(notify) == 1; i++)
		;
}

void notify_free(struct notify **notify)
{
	struct notify *n = *notify;

	*notify = NULL;
	if (!n)
		return;
	if (n->freed)
		*n->freed = true;
	loop_remove(&n->io);
	(void)close(n->listener);
	free(n->request);
	free(n->response);
	free(n);
}

/* ---- for those who judge ---- */

int notify_judge(struct notify *n, int nr, notify_judge_fn fn, void *arg)
{
	if (n->judge_count == JUDGES_MAX)
		return -ENOSPC;
	n->judges[n->judge_count++] = (struct judge){ nr, fn, arg };
	return 0;
}

int notify_answer(struct notify *n, uint64_t id, int64_t value, int errnum)
{
	memset(n->response, 0, n->response_size);
	n->response->id = id;
	n->response->val = errnum ? 0 : value;
	n->response->error = -errnum;
	return ioctl(n->listener, SECCOMP_IOCTL_NOTIF_SEND, n->response) < 0 ? -errno : 0;
}

static int add_fd(struct notify *n, uint64_t id, int fd, unsigned flags, int target,
		  bool cloexec)
{
	struct seccomp_notif_addfd add = {
		.id = id,
		.flags = flags,
		.srcfd = (uint32_t)fd,
		.newfd = (uint32_t)target,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	return ioctl(n->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 ? -errno : 0;
}

int notify_answer_fd(struct notify *n, uint64_t id, int fd, bool cloexec)
{
	return add_fd(n, id, fd, SECCOMP_ADDFD_FLAG_SEND, 0, cloexec);
}

int notify_place_fd(struct notify *n, uint64_t id, int fd, int target, bool cloexec)
{
	return add_fd(n, id, fd, SECCOMP_ADDFD_FLAG_SETFD, target, cloexec);
}

bool notify_is_valid(struct notify *n, uint64_t id)
{
	return ioctl(n->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int notify_read(struct notify *n, const struct notify_call *call, uint64_t address,
		void *ret, size_t len)
{
	struct iovec local = { .iov_base = ret, .iov_len = len };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)address, .iov_len = len };
	ssize_t got = process_vm_readv(call->tid, &local, 1, &remote, 1, 0);

	/* Valid after the read: so the thread id was the caller's during it. */
	if (!notify_is_valid(n, call->id))
		return -ESRCH;
	return got == (ssize_t)len ? 0 : -EFAULT;
}

ssize_t notify_read_path(struct notify *n, const struct notify_call *call,
			 uint64_t address, char *ret, size_t size)
{
	size_t at = 0;

	/* Page by page, since what lies behind the string's page may not be there. */
	while (at < size) {
		size_t part = 4096 - (size_t)((address + at) & 4095);
		char *end;
		int r;

		if (part > size - at)
			part = size - at;
		r = notify_read(n, call, address + at, ret + at, part);
		if (r < 0)
			return r;
		end = memchr(ret + at, '\0', part);
		if (end)
			return end - ret;
		at += part;
	}
	return -ENAMETOOLONG;
}

int notify_take_fd(struct notify *n, const struct notify_call *call, int fd)
{
	_cleanup_fd_ int process = open_process(call->tid);
	int taken, r;

	if (process < 0)
		return process;
	taken = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	r = taken < 0 ? -errno : 0;
	if (!notify_is_valid(n, call->id)) {
		fd_close(&taken);
		return -ESRCH;
	}
	return r < 0 ? r : taken;
}

void notify_tell(struct notify *n, const struct filter_call *call, const char *subject)
{
	struct notify_denial denial = { .call = call };

	n->count++;
	if (!may_tell(n)) {
		n->dropped++;
		return;
	}
	printable(subject, strlen(subject), denial.subject, sizeof(denial.subject));
	(void)pass_on(n, &denial);
}
