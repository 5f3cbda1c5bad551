/* SPDX-License-Identifier: MIT
 * Purpose: records of a server's journal to where its configuration says (log_forward.h).
 * Process: the command (serve), in a thread, with the rights that it was started with: the
 *   engine can write to none of these places.
 * Trusts: the reader as log_ask() does. Records hold programs' text, in JSON.
 * Invariants: the engine that writes never waits for this: the journal is read behind it. A
 *   reader that dies is started again, and that something may be missing is said. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/log_forward.h"
#include "journal/forward.h"
#include "lib/internal.h"

#define AGAIN_MS 1000
#define LINGER_MS 400 /* at the end, for what was recorded last */
#define HEADS_S 3600

struct log_forward {
	struct forward *forward;
	int journal_fd, key_fd, cancel_fd;
	pthread_t thread;
	bool fresh; /* nothing is recorded there yet: all of it is forwarded */
	bool began; /* a reader has followed: the next one begins behind a gap */
};

static void put(struct log_forward *f, const char *text)
{
	json_t *record = json_loads(text, 0, NULL);

	if (record)
		forward_record(f->forward, record, text, strlen(text));
	json_decref(record);
}

static bool on_row(void *arg, const json_t *row, const char *text, size_t len)
{
	const char *record = json_string_value(json_object_get(row, "record"));
	struct log_forward *f = arg;

	if (record && strcmp(record, "following") == 0) {
		if (f->began)
			put(f, "{\"record\":\"gap\",\"why\":\"the journal's reader was "
			       "started again\"}");
		f->began = true;
		return true;
	}
	forward_record(f->forward, row, text, len);
	return true;
}

/* Until the reader dies or the end is asked for. */
static void follow_once(struct log_forward *f)
{
	const struct spawn_options how = { .reader = true,
					   .door = true,
					   .journal_fd = f->journal_fd,
					   .key_fd = f->key_fd };
	json_t *filter = f->fresh && !f->began
				 ? json_pack("{s:i, s:i}", "heads", HEADS_S, "after", 0)
				 : json_pack("{s:i}", "heads", HEADS_S);
	const struct log_question question = { .verb = "follow",
					       .filter = filter,
					       .on_row = on_row,
					       .arg = f,
					       .cancel_fd = &f->cancel_fd,
					       .output_fd = -1 };
	struct spawned spawned;

	/* Before the engine's first start there is no journal yet: then again. */
	if (filter && spawn_broker(&how, &spawned, NULL) == 0) {
		(void)log_ask(&spawned, &question, NULL);
		(void)spawn_end(&spawned);
	}
	json_decref(filter);
}

static void *forwarder(void *arg)
{
	struct log_forward *f = arg;
	struct pollfd ended = { .fd = f->cancel_fd, .events = POLLIN };

	do
		follow_once(f);
	while (poll(&ended, 1, AGAIN_MS) == 0);
	return NULL;
}

static int start_thread(struct log_forward *f)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&f->thread, NULL, forwarder, f);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int log_forward_start(const json_t *targets, int journal_fd, int key_fd,
		      struct log_forward **ret, struct sbx_err *err)
{
	const char *texts[FORWARD_TARGETS_MAX];
	size_t count = json_array_size(targets);
	struct log_forward *f;
	int r;

	*ret = NULL;
	if (count == 0)
		return 0;
	if (journal_fd < 0)
		return err_set(err, SBX_AT_USAGE, 0,
			       "journal.forward: there is no journal to forward");
	if (count > FORWARD_TARGETS_MAX)
		return err_set(err, SBX_AT_USAGE, 0,
			       "journal.forward: more than %d places",
			       FORWARD_TARGETS_MAX);
	for (size_t i = 0; i < count; i++) {
		texts[i] = json_string_value(json_array_get(targets, i));
		if (!texts[i])
			return err_set(err, SBX_AT_USAGE, 0,
				       "journal.forward: a list of texts");
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "forwarding");
	f->journal_fd = journal_fd;
	f->key_fd = key_fd;
	f->fresh = faccessat(journal_fd, "journal.db", F_OK, 0) < 0 && errno == ENOENT;
	f->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = f->cancel_fd < 0 ? err_set(err, SBX_AT_ENGINE, errno, "eventfd")
			     : forward_new(texts, count, &f->forward, err);
	if (r == 0) {
		r = start_thread(f);
		if (r < 0)
			(void)err_set(err, SBX_AT_ENGINE, -r, "forwarding");
	}
	if (r < 0) {
		forward_free(&f->forward);
		fd_close(&f->cancel_fd);
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void log_forward_stop(struct log_forward **forward)
{
	const uint64_t one = 1;
	struct log_forward *f = *forward;

	*forward = NULL;
	if (!f)
		return;
	(void)poll(NULL, 0, LINGER_MS);
	if (write(f->cancel_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		(void)pthread_join(f->thread, NULL);
	forward_free(&f->forward);
	fd_close(&f->cancel_fd);
	free(f);
}
