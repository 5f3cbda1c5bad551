/* SPDX-License-Identifier: MIT
 * Purpose: limits without a cgroup (supervise.h).
 * Process: the jail's init, WORKER_UID inside, no capability, single thread.
 * Trusts: the kernel's /proc of this pid namespace. Names and times in it are the program's doing: a process may be
 *   called anything, end at any moment, or hide its leader behind threads.
 * Invariants: child-safe, static buffers. A look costs at most about 1/50 of the time until the next one, unless that
 *   would be more than TICK_MAX_US. What cannot be read counts as more, never as less; if nothing can be read the
 *   caller is told.
 *
 * Memory. A process's RssAnon and VmSwap are cheap (10 us) but count a page that a fork shares once for each. So:
 *   lower bound   the largest process's, less what the worker had at the baseline	  over the limit: exceeded
 *   upper bound   the sum of all							  within it: well
 *   between them  the sum of Pss_Anon and SwapPss of /proc/<pid>/smaps_rollup, in which each sharer has a part:
 *		   exact, but a walk over the page tables (1 ms for 100 MB). Asked again only after faults that could
 *		   have made the difference, and at most for a tenth of the time.
 *   To each comes what the private tmpfs holds (fstatfs) and the size of shared anonymous objects: their pages stay
 *   when nobody maps them any more, so that no rss shows them.
 * CPU. A bucket that fills with the share and is emptied by the clocks of the living (clock_gettime of the process's
 *   CPU clock), the times of children that they have waited for, and what the init has reaped. Empty: SIGSTOP to all;
 *   full again: SIGCONT. Debt is kept, so that a late look costs no share in the long run. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "jail/supervise.h"

#define PROCESSES_MAX 1024 /* told apart; of those beyond only the sums are known */
#define OBJECTS_MAX \
	64 /* shared anonymous objects told apart; those beyond count once for each mapping */
#define STOPPED_MAX 32 /* processes remembered to have stopped by themselves */
#define TICK_MIN_US 1000u
#define TICK_MAX_US 20000u
#define STOPPED_TICK_US \
	4000u /* while stopped: how long one that was woken by another may run unseen */
#define TURN_US 10000u /* what is handed out at once: the share of so much time */
#define FILL_BYTES_PER_US \
	4000u /* how fast a program fills memory at most, for when to look again */
#define SHARED_AGE_US \
	50000u /* mappings are looked through again after this at the latest */
#define HOLD_TRIES 24
#define EVASION_US \
	1000000u /* CPU used, a core, while stopped: more is no system call that ends */
#define PAGE 4096u
#define CLOCK_TICK_US 10000u /* USER_HZ, 100 on every Linux ABI that we know */

struct process {
	pid_t pid, ppid;
	char state;
	bool duplicate; /* shares another's memory (vfork) */
	uint32_t threads;
	uint64_t anon_bytes, size_bytes;
	char memory_of
		[16]; /* directory in /proc to ask about its memory: its own, or that of a living thread */
};

struct look {
	uint32_t count; /* of processes, also those beyond the table */
	uint32_t threads;
	uint64_t anon_bytes, largest_bytes, beyond_bytes, size_bytes;
	uint64_t faults, cpu_us, set; /* set: changes with the processes that are there */
};

struct object {
	uint64_t inode,
		bytes; /* largest extent ever seen: pages outside of what is mapped now are there, too */
	uint64_t seen;
};

struct state {
	int proc_fd, tmpfs_fd;
	uint32_t cores;
	bool stopped, exceeded;
	uint64_t last_us;
	/* baselines */
	uint64_t anon_base, exact_base, shared_base, tmpfs_base;
	/* CPU */
	uint64_t cpu_base_us, cpu_seen_us, reaped_us, evaded_us;
	int64_t bucket_us;
	uint32_t by_itself_count;
	pid_t by_itself[STOPPED_MAX];
	/* the last exact look */
	uint64_t exact_bytes, exact_at_us, exact_cost_us, exact_faults, exact_anon,
		exact_set;
	/* the last look through the mappings */
	uint64_t shared_bytes, shared_at_us, shared_cost_us, shared_size, shared_set,
		round;
	uint32_t object_count;
	struct object objects[OBJECTS_MAX];
};
_Static_assert(sizeof(struct state) <= sizeof(((struct supervise *)0)->opaque),
	       "supervise.h has too little room");

static struct process table[PROCESSES_MAX];

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static uint64_t above(uint64_t value, uint64_t base)
{
	return value > base ? value - base : 0;
}

/* ---- texts of /proc ---- */

/* Decimal; *at is moved behind it. Saturates. */
static uint64_t number(const char **at)
{
	uint64_t value = 0;
	const char *p = *at;

	for (; *p >= '0' && *p <= '9'; p++)
		if (value < UINT64_MAX / 16)
			value = value * 10 + (uint64_t)(*p - '0');
	*at = p;
	return value;
}

static uint64_t hex(const char **at)
{
	uint64_t value = 0;
	const char *p = *at;

	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			value = value << 4 | (uint64_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			value = value << 4 | (uint64_t)(*p - 'a' + 10);
		else
			break;
	}
	*at = p;
	return value;
}

static void join(char *ret, const char *a, const char *b)
{
	while (*a)
		*ret++ = *a++;
	*ret++ = '/';
	while (*b)
		*ret++ = *b++;
	*ret = '\0';
}

/* One read(2) of a small file. Length, 0 if the process is gone, or -errno. */
static ssize_t slurp(int proc_fd, const char *dir, const char *file, char *ret,
		     size_t size)
{
	char path[64];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	join(path, dir, file);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	n = read(fd, ret, size - 1);
	if (n < 0)
		return errno == ESRCH ? 0 : -errno;
	ret[n] = '\0';
	return n;
}

/* `Key:   123 kB` at the start of a line; false if it is not there. */
static bool kilobytes(const char *text, const char *key, uint64_t *ret_bytes)
{
	size_t len = strlen(key);
	const char *at;

	for (at = text; at && *at; at = strchr(at, '\n')) {
		if (*at == '\n')
			at++;
		if (strncmp(at, key, len) != 0)
			continue;
		at += len;
		while (*at == ' ' || *at == '\t')
			at++;
		*ret_bytes = number(&at) * 1024;
		return true;
	}
	return false;
}

static uint64_t clock_of(pid_t pid)
{
	/* The process's CPU clock, by pid; <linux/posix-timers.h> */
	clockid_t id = (clockid_t)((~(unsigned)pid << 3) | 2u);
	struct timespec t;

	if (clock_gettime(id, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Calls fn with each numeric name in a directory of /proc. */
static int each_number(int dir_fd, int (*fn)(void *arg, const char *name), void *arg)
{
	struct entry {
		uint64_t ino;
		int64_t off;
		unsigned short len;
		unsigned char type;
		char name[];
	};
	char buffer[4096] __attribute__((aligned(8)));
	long n, at;
	int r;

	if (lseek(dir_fd, 0, SEEK_SET) < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, dir_fd, buffer, sizeof(buffer))) > 0) {
		for (at = 0; at < n; at += ((struct entry *)(void *)(buffer + at))->len) {
			const char *name = ((struct entry *)(void *)(buffer + at))->name;

			if (name[0] < '1' || name[0] > '9' || strlen(name) > 10)
				continue;
			r = fn(arg, name);
			if (r < 0)
				return r;
		}
	}
	return n < 0 ? -errno : 0;
}

/* ---- one look at everything ---- */

struct looking {
	struct state *st;
	struct look look;
};

/* Anonymous memory of the process (or thread) with this directory. Falls back to statm,
 * which knows no swap, where a long list of groups pushes the numbers out of sight.
 * False: it has none, or is gone. */
static int memory_of(int proc_fd, const char *dir, uint64_t *ret_anon, uint64_t *ret_size,
		     bool *ret_has)
{
	char text[4096];
	uint64_t swap = 0, anon = 0, tables = 0;
	ssize_t n = slurp(proc_fd, dir, "status", text, sizeof(text));
	const char *at = text;

	*ret_has = false;
	if (n <= 0)
		return (int)n;
	if (kilobytes(text, "RssAnon:", &anon)) {
		(void)kilobytes(text, "VmSwap:", &swap);
		/* Gigabytes of tables can stand for pages that are all the zero page. */
		(void)kilobytes(text, "VmPTE:", &tables);
		(void)kilobytes(text, "VmSize:", ret_size);
	} else {
		uint64_t resident;

		n = slurp(proc_fd, dir, "statm", text, sizeof(text));
		if (n <= 0)
			return (int)n;
		*ret_size = number(&at) * PAGE;
		at += *at == ' ';
		resident = number(&at);
		at += *at == ' ';
		anon = above(resident, number(&at)) * PAGE;
		if (*ret_size == 0)
			return 0;
	}
	*ret_anon = anon + swap + tables;
	*ret_has = true;
	return 0;
}

struct thread_search {
	struct process *p;
	int proc_fd;
};

static int try_thread(void *arg, const char *name)
{
	struct thread_search *s = arg;
	bool has;
	int r = memory_of(s->proc_fd, name, &s->p->anon_bytes, &s->p->size_bytes, &has);

	if (r < 0 || !has)
		return r;
	strcpy(s->p->memory_of, name);
	return -EEXIST; /* found: enough */
}

/* A leader that ended before its threads has no memory to show; they have. */
static int memory_of_threads(int proc_fd, const char *dir, struct process *p)
{
	struct thread_search search = { p, proc_fd };
	char path[32];
	_cleanup_fd_ int fd = -1;
	int r;

	join(path, dir, "task");
	fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	r = each_number(fd, try_thread, &search);
	return r == -EEXIST || r == -ENOENT || r == -ESRCH ? 0 : r;
}

struct stat_line {
	uint64_t faults, children_us, start;
};

/* proc_pid_stat(5). The name in parentheses may hold anything: what counts begins behind
 * the last one. */
static bool parse_stat(const char *text, struct process *p, struct stat_line *ret)
{
	const char *at = strrchr(text, ')');
	int field;

	if (!at || at[1] != ' ' || at[2] == '\0')
		return false;
	p->state = at[2];
	at += 3;
	for (field = 4; *at == ' ' && field <= 22; field++) {
		uint64_t value;

		at++;
		at += *at == '-';
		value = number(&at);
		if (field == 4)
			p->ppid = (pid_t)value;
		else if (field == 10)
			ret->faults = value;
		else if (field == 16 || field == 17)
			ret->children_us += value * CLOCK_TICK_US;
		else if (field == 20)
			p->threads = (uint32_t)value;
		else if (field == 22)
			ret->start = value;
	}
	return field == 23;
}

static int look_at(void *arg, const char *name)
{
	struct looking *l = arg;
	struct stat_line line = { 0 };
	struct process p = { 0 };
	char text[1024];
	const char *at = name;
	bool has = false;
	ssize_t n;
	int r;

	p.pid = (pid_t)number(&at);
	if (p.pid <= 1)
		return 0;
	n = slurp(l->st->proc_fd, name, "stat", text, sizeof(text));
	if (n <= 0)
		return (int)n;
	if (!parse_stat(text, &p, &line))
		return -EBADMSG;
	strcpy(p.memory_of, name);
	if (p.state != 'Z' && p.state != 'X')
		r = memory_of(l->st->proc_fd, name, &p.anon_bytes, &p.size_bytes, &has);
	else
		r = p.threads > 1 ? memory_of_threads(l->st->proc_fd, name, &p) : 0;
	if (r < 0)
		return r;
	l->look.cpu_us += clock_of(p.pid) + line.children_us;
	l->look.threads += p.threads ? p.threads : 1;
	l->look.faults += line.faults;
	l->look.anon_bytes += p.anon_bytes;
	l->look.size_bytes += p.size_bytes;
	l->look.set += ((uint64_t)p.pid * 2654435761u) ^ (line.start << 20);
	if (p.anon_bytes > l->look.largest_bytes)
		l->look.largest_bytes = p.anon_bytes;
	if (l->look.count < PROCESSES_MAX)
		table[l->look.count] = p;
	else
		l->look.beyond_bytes += p.anon_bytes;
	l->look.count++;
	return 0;
}

static uint32_t in_table(const struct look *look)
{
	return look->count < PROCESSES_MAX ? look->count : PROCESSES_MAX;
}

static int look(struct state *st, struct look *ret)
{
	struct looking l = { .st = st };
	int r = each_number(st->proc_fd, look_at, &l);

	if (r == 0)
		*ret = l.look;
	return r;
}

/* ---- memory, exactly ---- */

/* Between vfork and exec the child is its parent's memory, and would count once more.
 * Whether two share memory tells kcmp(2); where the kernel has none, that the parent
 * waits in the way that vfork does. */
static void mark_duplicates(struct look *look)
{
	uint32_t n = in_table(look), i, k;

	for (i = 0; i < n; i++) {
		struct process *p = &table[i];

		for (k = 0; k < n && table[k].pid != p->ppid; k++)
			;
		if (k == n || k == i || p->anon_bytes == 0 ||
		    p->size_bytes != table[k].size_bytes)
			continue;
		long same = syscall(SYS_kcmp, p->pid, table[k].pid, KCMP_VM, 0, 0);

		p->duplicate = same == 0 ||
			       (same < 0 && errno == ENOSYS && table[k].state == 'D');
		if (p->duplicate)
			look->anon_bytes = above(look->anon_bytes, p->anon_bytes);
	}
}

static int exact(struct state *st, const struct look *look, uint64_t *ret_bytes)
{
	uint64_t sum = look->beyond_bytes, pss, swap;
	uint32_t n = in_table(look), i;
	char text[2048];

	for (i = 0; i < n; i++) {
		const struct process *p = &table[i];
		ssize_t got;

		if (p->duplicate || p->anon_bytes == 0)
			continue;
		got = slurp(st->proc_fd, p->memory_of, "smaps_rollup", text,
			    sizeof(text));
		if (got == 0)
			continue;
		/* A program that may be executed but not read lets nobody look at its
		 * pages. */
		if (got == -EACCES || got == -EPERM) {
			sum += p->anon_bytes;
			continue;
		}
		if (got < 0)
			return (int)got;
		swap = 0;
		(void)kilobytes(text, "SwapPss:", &swap);
		sum += kilobytes(text, "Pss_Anon:", &pss) ? pss + swap
							  : p->anon_bytes; /* 5.4 */
	}
	*ret_bytes = sum;
	return 0;
}

/* ---- shared anonymous memory ---- */

static void add_object(struct state *st, uint64_t inode, uint64_t bytes, uint64_t *beyond)
{
	uint32_t i;

	for (i = 0; i < st->object_count; i++) {
		struct object *o = &st->objects[i];

		if (o->inode != inode)
			continue;
		o->seen = st->round;
		if (o->bytes < bytes)
			o->bytes = bytes;
		return;
	}
	if (st->object_count < OBJECTS_MAX)
		st->objects[st->object_count++] = (struct object){ inode, bytes,
								   st->round };
	else
		*beyond += bytes;
}

/* `start-end perms offset dev inode   path` */
static void mapping(struct state *st, const char *line, uint64_t *beyond)
{
	static const char *const kinds[] = { "/dev/zero", "/memfd:", "/SYSV",
					     "/anon_hugepage" };
	uint64_t start, end, offset, inode;
	const char *at = line;
	size_t i;

	start = hex(&at);
	if (*at++ != '-')
		return;
	end = hex(&at);
	if (*at != ' ' || strnlen(at, 6) < 6 || at[4] != 's')
		return;
	at += 6;
	offset = hex(&at);
	at = *at == ' ' ? strchr(at + 1, ' ') : NULL;
	if (!at)
		return;
	at++;
	inode = number(&at);
	while (*at == ' ')
		at++;
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(at, kinds[i], strlen(kinds[i])) == 0)
			add_object(st, inode, offset + above(end, start), beyond);
}

static int mappings_of(struct state *st, const char *dir, uint64_t *beyond)
{
	static char text[16384];
	char path[32];
	_cleanup_fd_ int fd = -1;
	size_t len = 0;
	ssize_t n;

	join(path, dir, "maps");
	fd = openat(st->proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) /* gone, or not to be read: its rss is what is known of it */
		return errno == ENOENT || errno == ESRCH || errno == EACCES ||
				       errno == EPERM
			       ? 0
			       : -errno;
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
		char *line = text, *end;

		len += (size_t)n;
		text[len] = '\0';
		while ((end = strchr(line, '\n'))) {
			*end = '\0';
			mapping(st, line, beyond);
			line = end + 1;
		}
		len = (size_t)(text + len - line);
		if (len == sizeof(text) - 1)
			len = 0; /* no line is that long */
		memmove(text, line, len);
	}
	return n < 0 && errno != ESRCH ? -errno : 0;
}

static int look_at_shared(struct state *st, const struct look *look, uint64_t now)
{
	uint64_t sum = 0;
	uint32_t n = in_table(look), i, kept = 0;
	int r;

	st->round++;
	for (i = 0; i < n; i++) {
		r = table[i].anon_bytes || table[i].size_bytes
			    ? mappings_of(st, table[i].memory_of, &sum)
			    : 0;
		if (r < 0)
			return r;
	}
	for (i = 0; i < st->object_count; i++) {
		if (st->objects[i].seen != st->round)
			continue;
		sum += st->objects[i].bytes;
		st->objects[kept++] = st->objects[i];
	}
	st->object_count = kept;
	st->shared_bytes = sum;
	st->shared_size = look->size_bytes;
	st->shared_set = look->set;
	st->shared_at_us = now_us();
	st->shared_cost_us = above(st->shared_at_us, now);
	return 0;
}

static int tmpfs_bytes(const struct state *st, uint64_t *ret)
{
	struct statfs fs;

	if (fstatfs(st->tmpfs_fd, &fs) < 0)
		return -errno;
	*ret = above(fs.f_blocks, fs.f_bfree) * (uint64_t)fs.f_bsize;
	return 0;
}

/* ---- begin ---- */

static struct state *state_of(struct supervise *s)
{
	return (struct state *)(void *)s->opaque;
}

int supervise_begin(struct supervise *s, const struct supervise_limits *limits,
		    int proc_fd, int tmpfs_fd, struct sbx_err *err)
{
	struct state *st = state_of(s);
	struct look seen;
	cpu_set_t cores;
	int r;

	memset(s, 0, sizeof(*s));
	s->limits = *limits;
	st->proc_fd = proc_fd;
	st->tmpfs_fd = tmpfs_fd;
	if (proc_fd < 0)
		return err_set_plain(err, SBX_AT_WALL, ENOENT,
				     "limits without a cgroup need a private /proc");
	r = look(st, &seen);
	if (r == 0) {
		mark_duplicates(&seen);
		r = exact(st, &seen, &st->exact_base);
	}
	if (r == 0)
		r = look_at_shared(st, &seen, now_us());
	if (r == 0)
		r = tmpfs_bytes(st, &st->tmpfs_base);
	if (r < 0)
		return err_set_plain(err, SBX_AT_WALL, -r,
				     "the supervisor cannot see its jail");
	st->cores = sched_getaffinity(0, sizeof(cores), &cores) == 0
			    ? (uint32_t)CPU_COUNT(&cores)
			    : 1;
	st->anon_base = seen.anon_bytes;
	st->shared_base = st->shared_bytes;
	st->exact_bytes = st->exact_base;
	st->exact_anon = seen.anon_bytes;
	st->exact_faults = seen.faults;
	st->exact_set = seen.set;
	st->cpu_base_us = st->cpu_seen_us = seen.cpu_us;
	st->last_us = st->exact_at_us = now_us();
	st->bucket_us = (int64_t)limits->cpu_percent * TURN_US / 100;
	s->usage.processes = s->usage.processes_peak = seen.threads;
	return 0;
}

void supervise_reaped(struct supervise *s, uint64_t cpu_us)
{
	state_of(s)->reaped_us += cpu_us;
}

/* ---- tick: memory ---- */

static bool exact_is_stale(const struct state *st, const struct look *look, uint64_t room,
			   uint64_t now)
{
	uint64_t grown = above(look->anon_bytes, st->exact_anon) +
			 above(look->faults, st->exact_faults) * PAGE;

	/* Never for more than a tenth of the time. */
	if (now < st->exact_at_us + 10 * st->exact_cost_us)
		return false;
	if (look->set != st->exact_set || grown > room)
		return true;
	/* A huge page is one fault, and one process's loss may hide another's gain. */
	return grown > 0 && now >= st->exact_at_us + SHARED_AGE_US;
}

/* 1: exceeded, 0: within, -errno. */
static int check_memory(struct supervise *s, struct look *look, uint64_t now,
			uint64_t *ret_room)
{
	struct state *st = state_of(s);
	uint64_t limit = s->limits.memory_bytes, tmpfs = 0, fixed, lower, upper, best,
		 used;
	int r;

	r = tmpfs_bytes(st, &tmpfs);
	if (r < 0)
		return r;
	if (limit && now >= st->shared_at_us + 50 * st->shared_cost_us &&
	    (look->size_bytes != st->shared_size || look->set != st->shared_set ||
	     now >= st->shared_at_us + SHARED_AGE_US)) {
		r = look_at_shared(st, look, now);
		if (r < 0)
			return r;
	}
	fixed = above(tmpfs, st->tmpfs_base) + above(st->shared_bytes, st->shared_base);
	lower = above(look->largest_bytes, st->anon_base) + fixed;
	upper = look->anon_bytes + fixed;
	if (limit && lower <= limit && upper > limit && look->count > 1) {
		mark_duplicates(look);
		upper = look->anon_bytes + fixed;
	}
	if (limit && lower <= limit && upper > limit) {
		used = above(st->exact_bytes, st->exact_base) + fixed;
		if (exact_is_stale(st, look, above(limit, used), now)) {
			uint64_t began = now_us();

			r = exact(st, look, &st->exact_bytes);
			if (r < 0)
				return r;
			st->exact_at_us = now_us();
			st->exact_cost_us = st->exact_at_us - began;
			st->exact_anon = look->anon_bytes;
			st->exact_faults = look->faults;
			st->exact_set = look->set;
		}
		best = above(st->exact_bytes, st->exact_base) + fixed;
	} else {
		/* The sum is right for one process and too much for several, the largest
		 * too little. */
		best = above(look->anon_bytes, st->anon_base) + fixed;
	}
	if (best < lower)
		best = lower;
	s->usage.tmpfs_bytes = tmpfs;
	s->usage.memory_bytes = best;
	if (best > s->usage.memory_peak_bytes)
		s->usage.memory_peak_bytes = best;
	*ret_room = limit ? above(limit, best) : UINT64_MAX;
	return limit && best > limit;
}

/* ---- tick: CPU ---- */

/* Reaches everything of this pid namespace but ourselves (kill(2)), and no fork in
 * progress escapes it. */
static int signal_all(int sig)
{
	if (kill(-1, sig) == 0 || errno == ESRCH)
		return 0;
	return -errno;
}

static uint64_t clocks(const struct look *look)
{
	uint32_t n = in_table(look), i;
	uint64_t sum = 0;

	for (i = 0; i < n; i++)
		sum += clock_of(table[i].pid);
	return sum;
}

/* Processes that send SIGCONT to each other all the time take a stop back before it is
 * seen. Each try is a toss of a coin for them: it is repeated until no clock moves. */
static int hold_all(const struct look *look)
{
	const struct timespec moment = { .tv_nsec = 50000 };
	uint64_t before;
	int tries, r;

	for (tries = 0; tries < HOLD_TRIES; tries++) {
		r = signal_all(SIGSTOP);
		if (r < 0)
			return r;
		(void)nanosleep(&moment, NULL);
		before = clocks(look);
		(void)nanosleep(&moment, NULL);
		if (clocks(look) == before)
			break;
	}
	return 0;
}

static int stop_all(struct state *st, const struct look *look)
{
	uint32_t n = in_table(look), i;

	st->by_itself_count = 0;
	for (i = 0; i < n && st->by_itself_count < STOPPED_MAX; i++)
		if (table[i].state == 'T')
			st->by_itself[st->by_itself_count++] = table[i].pid;
	st->stopped = true;
	st->evaded_us = 0;
	return hold_all(look);
}

/* One that had stopped by itself stays so. */
static int continue_all(struct state *st, const struct look *look)
{
	uint32_t n = in_table(look), i, k;

	st->stopped = false;
	if (st->by_itself_count == 0 || look->count > PROCESSES_MAX)
		return signal_all(SIGCONT);
	for (i = 0; i < n; i++) {
		for (k = 0; k < st->by_itself_count && st->by_itself[k] != table[i].pid;
		     k++)
			;
		if (k == st->by_itself_count && kill(table[i].pid, SIGCONT) < 0 &&
		    errno != ESRCH)
			return -errno;
	}
	return 0;
}

static int take_turns(struct supervise *s, const struct look *look, uint64_t elapsed_us,
		      uint64_t used_us, uint64_t *ret_wait_us)
{
	struct state *st = state_of(s);
	int64_t percent = (int64_t)s->limits.cpu_percent;
	int64_t turn = percent * TURN_US / 100, busy, drain;
	int r = 0;

	if (turn < TICK_MIN_US)
		turn = TICK_MIN_US;
	st->bucket_us += (int64_t)elapsed_us * percent / 100 - (int64_t)used_us;
	if (st->bucket_us > 2 * turn)
		st->bucket_us = 2 * turn;
	if (st->stopped) {
		st->evaded_us += used_us;
		/* What was in the kernel goes on until it leaves it; beyond that someone
		 * wakes them. */
		if (st->evaded_us > (uint64_t)EVASION_US * st->cores)
			return -EPERM;
		if (st->bucket_us >= turn)
			r = continue_all(st, look);
		else if (used_us > 0)
			r = hold_all(look);
	} else if (st->bucket_us <= 0) {
		r = stop_all(st, look);
	}
	if (r < 0)
		return r;
	if (st->stopped) {
		*ret_wait_us = (uint64_t)((turn - st->bucket_us) * 100 / percent);
		if (*ret_wait_us > STOPPED_TICK_US)
			*ret_wait_us = STOPPED_TICK_US;
		return 0;
	}
	/* As many as can run at once empty the bucket. */
	busy = look->threads < st->cores ? look->threads : st->cores;
	drain = busy * 100 - percent;
	*ret_wait_us = drain > 0 ? (uint64_t)(st->bucket_us * 100 / drain) : TICK_MAX_US;
	return 0;
}

/* ---- tick ---- */

int supervise_tick(struct supervise *s)
{
	struct state *st = state_of(s);
	uint64_t began = now_us(), elapsed = above(began, st->last_us),
		 wait = TICK_MAX_US, room, total, used, cost;
	struct look seen;
	int r;

	if (st->exceeded) {
		r = signal_all(SIGSTOP);
		return r < 0 ? r : 0;
	}
	r = look(st, &seen);
	if (r < 0)
		return r;
	cost = 50 * (now_us() - began);
	st->last_us = began;
	/* The sum falls for a moment when a process ends between two readings, and is
	 * made up for by the next. */
	total = seen.cpu_us + st->reaped_us;
	used = above(total, st->cpu_seen_us);
	st->cpu_seen_us += used;
	s->usage.cpu_us = above(st->cpu_seen_us, st->cpu_base_us);
	s->usage.processes = seen.threads;
	if (seen.threads > s->usage.processes_peak)
		s->usage.processes_peak = seen.threads;
	r = check_memory(s, &seen, began, &room);
	if (r < 0)
		return r;
	if (r > 0) {
		st->exceeded = true;
		r = signal_all(SIGSTOP);
		return r < 0 ? r : 0;
	}
	if (s->limits.cpu_percent) {
		r = take_turns(s, &seen, elapsed, used, &wait);
		if (r < 0)
			return r;
	}
	if (!st->stopped && room / FILL_BYTES_PER_US < wait)
		wait = room / FILL_BYTES_PER_US;
	if (wait < cost)
		wait = cost;
	return (int)(wait < TICK_MIN_US   ? TICK_MIN_US
		     : wait > TICK_MAX_US ? TICK_MAX_US
					  : wait);
}
