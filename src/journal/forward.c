/* SPDX-License-Identifier: MIT
 * Purpose: records as text to files, syslog and journald (forward.h).
 * Process: the command (serve), with its rights; a thread of its own.
 * Trusts: the targets, which its operator wrote. A record is one line of JSON in UTF-8, whose
 *   texts are programs': nothing of it but numbers and names of ours becomes a field by itself.
 * Invariants: at most QUEUE_BYTES wait; every record is written to each target or counted;
 *   a line is one write, a datagram one send. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "journal/forward.h"

#define QUEUE_BYTES (8u << 20)
#define QUEUE_RECORDS 20000u
#define SYSLOG_BYTES 8192u /* of a datagram: what most of them take */
#define DRAIN_S 1
#define FACILITY 10 /* authpriv: who may read it may read what programs did */
#define DEV_LOG "/dev/log"
#define JOURNALD "/run/systemd/journal/socket"

enum kind { TO_FILE, TO_SYSLOG, TO_RFC5424, TO_JOURNALD };

struct target {
	enum kind kind;
	char path[PATH_MAX];
	int fd;
	uint64_t bytes, max_bytes; /* of a file */
	unsigned keep;
	uint64_t lost; /* records since the last that was written */
};

struct entry {
	struct entry *next;
	int priority; /* of syslog: 3 error, 4 warning, 6 information */
	char id[72];
	char status[24];
	size_t len;
	char text[];
};

struct forward {
	struct target targets[FORWARD_TARGETS_MAX];
	size_t target_count;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct entry *first, **last;
	size_t bytes, count;
	bool closing;
	uint64_t written, dropped, failed, dropped_before;
	char error[200];
};

/* ---- files ---- */

static int open_file(struct target *target)
{
	struct stat st;

	target->fd = open(target->path,
			  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
				  O_NONBLOCK,
			  0600);
	if (target->fd < 0 || fstat(target->fd, &st) < 0)
		return -errno;
	target->bytes = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

/* PATH.6 becomes PATH.7 and so on; PATH is begun anew. */
static int turn_over(struct target *target)
{
	char from[PATH_MAX + 16], to[PATH_MAX + 16];

	fd_close(&target->fd);
	for (unsigned i = target->keep - 1; i > 0; i--) {
		(void)snprintf(from, sizeof(from), i > 1 ? "%s.%u" : "%s", target->path,
			       i - 1);
		(void)snprintf(to, sizeof(to), "%s.%u", target->path, i);
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	if (target->keep == 1 && unlink(target->path) < 0 && errno != ENOENT)
		return -errno;
	return open_file(target);
}

static int write_line(struct target *target, const char *line, size_t len)
{
	ssize_t n = write(target->fd, line, len);
	int r = n < 0 ? -errno : -ENOSPC;

	if (n == (ssize_t)len) {
		target->bytes += len;
		return 0;
	}
	/* No half of a line stays. */
	if (n > 0 && ftruncate(target->fd, (off_t)target->bytes) < 0)
		target->bytes += (uint64_t)n;
	return r;
}

static int to_file(struct target *target, const struct entry *entry)
{
	struct buf line = { 0 };
	int r = 0;

	if (target->fd < 0)
		r = open_file(target);
	else if (target->bytes > 0 && target->bytes + entry->len + 1 > target->max_bytes)
		r = turn_over(target);
	if (r < 0) {
		fd_close(&target->fd);
		return r;
	}
	r = buf_add(&line, entry->text, entry->len);
	if (r == 0)
		r = buf_add(&line, "\n", 1);
	if (r == 0)
		r = write_line(target, line.data, line.len);
	buf_free(&line);
	return r;
}

/* ---- datagrams ---- */

static int connect_to(struct target *target)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	if (strlen(target->path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, target->path);
	target->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (target->fd < 0)
		return -errno;
	if (connect(target->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	r = -errno;
	fd_close(&target->fd);
	return r;
}

static int send_once(struct target *target, const void *data, size_t len)
{
	int r = target->fd < 0 ? connect_to(target) : 0;

	if (r < 0)
		return r;
	if (send(target->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len)
		return 0;
	return -errno;
}

/* A reader that was started again has another socket at the same path. */
static int send_datagram(struct target *target, const void *data, size_t len)
{
	int r = send_once(target, data, len);

	if (r == -ECONNREFUSED || r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE) {
		fd_close(&target->fd);
		r = send_once(target, data, len);
	}
	return r;
}

static int to_syslog(struct target *target, const struct entry *entry, bool rfc5424)
{
	struct buf out = { .max = SYSLOG_BYTES };
	time_t now = time(NULL);
	char stamp[40], host[65] = "-";
	struct tm parts;
	size_t room;
	int r;

	if (rfc5424) {
		(void)gethostname(host, sizeof(host) - 1);
		(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ",
			       gmtime_r(&now, &parts));
		r = buf_addf(&out, "<%d>1 %s %s sandbox %d record - ",
			     FACILITY << 3 | entry->priority, stamp, host, (int)getpid());
	} else {
		(void)strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S",
			       localtime_r(&now, &parts));
		r = buf_addf(&out,
			     "<%d>%s sandbox[%d]: ", FACILITY << 3 | entry->priority,
			     stamp, (int)getpid());
	}
	room = SYSLOG_BYTES - out.len;
	if (r == 0)
		r = buf_add(&out, entry->text, entry->len < room ? entry->len : room);
	if (r == 0)
		r = send_datagram(target, out.data, out.len);
	buf_free(&out);
	return r;
}

/* The native protocol: NAME=value lines. What is longer than a datagram goes as a sealed
 * memfd. */
static int to_journald(struct target *target, const struct entry *entry)
{
	_cleanup_fd_ int memory = -1;
	struct buf out = { 0 };
	int r = buf_addf(&out,
			 "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=sandbox\n"
			 "SANDBOX_EXECUTION=%s\nSANDBOX_STATUS=%s\nMESSAGE=",
			 entry->priority, FACILITY, entry->id, entry->status);

	/* One line of JSON has no newline in it. */
	if (r == 0)
		r = buf_add(&out, entry->text, entry->len);
	if (r == 0)
		r = buf_add(&out, "\n", 1);
	if (r == 0)
		r = send_datagram(target, out.data, out.len);
	if (r == -EMSGSIZE || r == -ENOBUFS) {
		memory = memfd_create("sandbox-record", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		r = memory < 0 ? -errno : fd_write_all(memory, out.data, out.len);
		if (r == 0 &&
		    fcntl(memory, F_ADD_SEALS,
			  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
			r = -errno;
		if (r == 0)
			r = wire_send(target->fd, "", 0, &memory, 1);
	}
	buf_free(&out);
	return r;
}

/* ---- the thread ---- */

static int write_to(struct target *target, const struct entry *entry)
{
	switch (target->kind) {
	case TO_FILE:
		return to_file(target, entry);
	case TO_SYSLOG:
		return to_syslog(target, entry, false);
	case TO_RFC5424:
		return to_syslog(target, entry, true);
	case TO_JOURNALD:
		return to_journald(target, entry);
	}
	return -EINVAL;
}

static struct entry *note_dropped(uint64_t count)
{
	struct entry *entry = calloc(1, sizeof(*entry) + 64);

	if (!entry)
		return NULL;
	entry->priority = 4;
	entry->len = (size_t)snprintf(entry->text, 64,
				      "{\"record\":\"dropped\",\"count\":%llu}",
				      (unsigned long long)count);
	return entry;
}

static void write_to_all(struct forward *forward, const struct entry *entry)
{
	int failure = 0;
	size_t failed = 0;

	for (size_t i = 0; i < forward->target_count; i++) {
		struct target *target = &forward->targets[i];
		struct entry *note = target->lost ? note_dropped(target->lost) : NULL;
		int r = 0;

		/* Where something is missing that is said first. */
		if (note) {
			r = write_to(target, note);
			if (r == 0)
				target->lost = 0;
			free(note);
		}
		if (r == 0)
			r = write_to(target, entry);
		if (r < 0) {
			target->lost++;
			failed++;
			failure = -r;
		}
	}
	(void)pthread_mutex_lock(&forward->lock);
	forward->written += forward->target_count - failed;
	forward->failed += failed;
	if (failure)
		(void)snprintf(forward->error, sizeof(forward->error), "%s",
			       strerror(failure));
	(void)pthread_mutex_unlock(&forward->lock);
}

/* With the lock; NULL: closing, and nothing waits. */
static struct entry *next_entry(struct forward *forward)
{
	struct entry *entry;

	while (!forward->first && !forward->closing)
		(void)pthread_cond_wait(&forward->moved, &forward->lock);
	entry = forward->first;
	if (!entry)
		return NULL;
	forward->first = entry->next;
	if (!forward->first)
		forward->last = &forward->first;
	forward->bytes -= entry->len;
	forward->count--;
	return entry;
}

static void *writer(void *arg)
{
	struct forward *forward = arg;
	struct timespec began = { 0 }, now;
	struct entry *entry;
	uint64_t dropped;
	bool closing;

	for (;;) {
		(void)pthread_mutex_lock(&forward->lock);
		entry = next_entry(forward);
		closing = forward->closing;
		dropped = forward->dropped - forward->dropped_before;
		forward->dropped_before = forward->dropped;
		(void)pthread_mutex_unlock(&forward->lock);
		for (size_t i = 0; dropped > 0 && i < forward->target_count; i++)
			forward->targets[i].lost += dropped;
		if (!entry)
			return NULL;
		write_to_all(forward, entry);
		free(entry);
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (closing && began.tv_sec == 0)
			began = now;
		if (closing && now.tv_sec - began.tv_sec > DRAIN_S)
			return NULL;
	}
}

/* ---- from outside ---- */

/* "?max_mb=N&keep=N" behind a file's path. */
static int file_options(struct target *target)
{
	char *at = strchr(target->path, '?'), *end;

	target->max_bytes = FORWARD_FILE_BYTES;
	target->keep = FORWARD_FILES;
	if (!at)
		return 0;
	*at++ = '\0';
	while (*at) {
		bool size = strncmp(at, "max_mb=", 7) == 0,
		     keep = strncmp(at, "keep=", 5) == 0;
		unsigned long n;

		if (!size && !keep)
			return -EINVAL;
		at += size ? 7 : 5;
		if (*at < '0' || *at > '9')
			return -EINVAL;
		n = strtoul(at, &end, 10);
		if ((*end && *end != '&') || n < 1 || n > (size ? 1ul << 20 : 1000ul))
			return -EINVAL;
		if (size)
			target->max_bytes = (uint64_t)n << 20;
		else
			target->keep = (unsigned)n;
		at = *end ? end + 1 : end;
	}
	return 0;
}

static int parse(struct target *target, const char *text)
{
	static const struct {
		const char *name;
		enum kind kind;
		const char *path; /* NULL: has to be given */
	} rows[] = {
		{ "file", TO_FILE, NULL },
		{ "syslog:rfc5424", TO_RFC5424, DEV_LOG },
		{ "syslog", TO_SYSLOG, DEV_LOG },
		{ "journald", TO_JOURNALD, JOURNALD },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].name);
		const char *path = rows[i].path;

		if (strncmp(text, rows[i].name, len) != 0 ||
		    (text[len] && text[len] != ':'))
			continue;
		if (text[len])
			path = text + len + 1;
		if (!path || path[0] != '/' || strlen(path) >= sizeof(target->path))
			return -EINVAL;
		target->kind = rows[i].kind;
		strcpy(target->path, path);
		return target->kind == TO_FILE ? file_options(target) : 0;
	}
	return -EINVAL;
}

static int start(struct forward *forward)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&forward->thread, NULL, writer, forward);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void release(struct forward *forward)
{
	for (size_t i = 0; i < forward->target_count; i++)
		fd_close(&forward->targets[i].fd);
	while (forward->first) {
		struct entry *entry = forward->first;

		forward->first = entry->next;
		free(entry);
	}
	(void)pthread_mutex_destroy(&forward->lock);
	(void)pthread_cond_destroy(&forward->moved);
	free(forward);
}

int forward_new(const char *const *targets, size_t count, struct forward **ret,
		struct sbx_err *err)
{
	struct forward *forward = calloc(1, sizeof(*forward));
	int r = 0;

	if (!forward)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "forwarding");
	forward->last = &forward->first;
	(void)pthread_mutex_init(&forward->lock, NULL);
	(void)pthread_cond_init(&forward->moved, NULL);
	if (count > FORWARD_TARGETS_MAX)
		r = err_set(err, SBX_AT_USAGE, 0, "journal.forward: more than %d targets",
			    FORWARD_TARGETS_MAX);
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct target *target = &forward->targets[i];

		target->fd = -1;
		forward->target_count++;
		if (parse(target, targets[i]) < 0) {
			r = err_set(err, SBX_AT_USAGE, 0,
				    "journal.forward: \"%.200s\" is neither file:/PATH,"
				    " syslog, syslog:rfc5424 nor journald",
				    targets[i]);
		} else if (target->kind == TO_FILE) {
			r = open_file(target);
			if (r < 0)
				r = err_set(err, SBX_AT_USAGE, -r,
					    "journal.forward: %.200s: %s", target->path,
					    strerror(-r));
		}
	}
	if (r == 0) {
		r = start(forward);
		if (r < 0)
			r = err_set(err, SBX_AT_ENGINE, -r, "forwarding");
	}
	if (r < 0) {
		release(forward);
		return r;
	}
	*ret = forward;
	return 0;
}

static const char *text_of(const json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	return text ? text : "";
}

/* Only what cannot end a field of syslog or journald. */
static void copy_word(char *ret, size_t size, const char *text)
{
	size_t n = 0;

	for (; text[n] && n + 1 < size; n++)
		ret[n] = (text[n] >= '0' && text[n] <= '9') ||
					 (text[n] >= 'a' && text[n] <= 'z') ||
					 (text[n] >= 'A' && text[n] <= 'Z') ||
					 text[n] == '-' || text[n] == '_'
				 ? text[n]
				 : '?';
	ret[n] = '\0';
}

void forward_record(struct forward *forward, const json_t *record, const char *text,
		    size_t len)
{
	const char *kind = text_of(record, "record"), *status = text_of(record, "status");
	bool event = strcmp(kind, "event") == 0;
	struct entry *entry = memchr(text, '\n', len) ? NULL
						      : calloc(1, sizeof(*entry) + len);

	if (entry) {
		memcpy(entry->text, text, len);
		entry->len = len;
		copy_word(entry->id, sizeof(entry->id),
			  text_of(record, event ? "execution" : "id"));
		copy_word(entry->status, sizeof(entry->status), status);
		entry->priority = strcmp(status, "fault") == 0 ? 3
				  : event                      ? 4
				  : strcmp(status, "ok") == 0 ||
						  strcmp(status, "running") == 0 ||
						  !*status
					  ? 6
					  : 4;
	}
	(void)pthread_mutex_lock(&forward->lock);
	if (!entry || forward->bytes + len > QUEUE_BYTES ||
	    forward->count >= QUEUE_RECORDS) {
		forward->dropped++;
		free(entry);
	} else {
		*forward->last = entry;
		forward->last = &entry->next;
		forward->bytes += len;
		forward->count++;
		(void)pthread_cond_signal(&forward->moved);
	}
	(void)pthread_mutex_unlock(&forward->lock);
}

json_t *forward_state(struct forward *forward)
{
	json_t *state;

	(void)pthread_mutex_lock(&forward->lock);
	state = json_pack("{s:I, s:I, s:I, s:o}", "written", (json_int_t)forward->written,
			  "dropped", (json_int_t)forward->dropped, "failed",
			  (json_int_t)forward->failed, "error",
			  forward->error[0] ? json_string(forward->error) : json_null());
	(void)pthread_mutex_unlock(&forward->lock);
	return state;
}

void forward_free(struct forward **forward)
{
	struct forward *gone = *forward;

	*forward = NULL;
	if (!gone)
		return;
	(void)pthread_mutex_lock(&gone->lock);
	gone->closing = true;
	(void)pthread_cond_signal(&gone->moved);
	(void)pthread_mutex_unlock(&gone->lock);
	(void)pthread_join(gone->thread, NULL);
	release(gone);
}
