/* SPDX-License-Identifier: MIT
 * Purpose: the command's questions to the journal (log_door.h).
 * Process: the engine, on its loop.
 * Trusts: the command's identity, not its bytes; the journal bounds what it answers.
 * Invariants: one question at a time, and exactly one DOOR_LOG_END for it; while the door
 *   is full the journal is held. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/jsontext.h"
#include "daemon/broker.h"
#include "daemon/door.h"
#include "daemon/log_door.h"

struct log_door {
	struct loop *loop;
	struct journal *journal; /* given, or ours */
	bool reader, ours, writable;
	struct journal_question *question; /* NULL: none is being answered */
	bool held;
	log_door_put put;
	void *arg;
};

/* See ROLE_JOURNAL_FD. */
static int directory(char *path, size_t size, struct sbx_err *err)
{
	struct stat st;

	if (fstat(ROLE_JOURNAL_FD, &st) < 0 || !S_ISDIR(st.st_mode)) {
		(void)err_set(err, SBX_AT_JOURNAL, 0, "journal: %s", JOURNAL_NOT_MOUNTED);
		return -ENOTSUP;
	}
	(void)snprintf(path, size, "/proc/self/fd/%d", ROLE_JOURNAL_FD);
	return 0;
}

int log_door_new(struct loop *loop, struct journal *journal, bool reader,
		 log_door_put put, void *arg, struct log_door **ret)
{
	struct log_door *door = calloc(1, sizeof(*door));

	if (!door)
		return -ENOMEM;
	*door = (struct log_door){
		.loop = loop, .journal = journal, .reader = reader, .put = put, .arg = arg
	};
	*ret = door;
	return 0;
}

static void end(struct log_door *door, const struct sbx_err *err)
{
	const struct sbx_err none = { 0 };

	door->put(door->arg, DOOR_LOG_END, err ? err : &none, sizeof(none));
}

static void on_row(void *arg, const json_t *row)
{
	struct log_door *door = arg;
	size_t len = 0;
	char *text = jsontext(row, &len);

	/* A row that is left out would look like one that was taken away. */
	if (text && len <= DOOR_LOG_ROW_MAX) {
		door->put(door->arg, DOOR_LOG_ROW, text, len);
	} else {
		struct sbx_err err = { 0 };

		(void)err_set(&err, SBX_AT_JOURNAL, text ? EMSGSIZE : ENOMEM, "a record");
		journal_query_cancel(&door->question);
		end(door, &err);
	}
	free(text);
}

static void on_end(void *arg, const struct sbx_err *err)
{
	struct log_door *door = arg;

	door->question = NULL;
	end(door, err);
}

static int open_journal(struct log_door *door, bool writable, struct sbx_err *err)
{
	char path[32];
	struct journal_options options = { .dir = path,
					   .read_only = !writable,
					   .starter_uid = getuid() };
	struct stat st;

	if (door->journal && (!door->ours || door->writable || !writable))
		return 0;
	if (!door->reader)
		return err_set(err, SBX_AT_JOURNAL, 0, "this engine keeps no journal");
	if (door->ours)
		journal_close(&door->journal);
	if (directory(path, sizeof(path), err) < 0)
		return -ENOTSUP;
	if (fstat(ROLE_JOURNAL_KEY_FD, &st) == 0 && S_ISREG(st.st_mode))
		options.key_fd = ROLE_JOURNAL_KEY_FD;
	door->ours = true;
	door->writable = writable;
	return journal_open(door->loop, &options, &door->journal, err);
}

bool log_door_ask(struct log_door *door, const char *data, size_t len)
{
	json_t *object = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	const char *verb = json_string_value(json_object_get(object, "verb"));
	struct sbx_err err = { 0 };
	int r;

	if (door->question) {
		json_decref(object);
		return false;
	}
	door->held = false;
	r = verb ? open_journal(door, strcmp(verb, "prune") == 0, &err)
		 : err_set(&err, SBX_AT_USAGE, 0, "a question without a verb");
	if (r == 0)
		r = journal_query(door->journal, verb, json_object_get(object, "filter"),
				  on_row, on_end, door, &door->question, &err);
	json_decref(object);
	if (r < 0)
		end(door, &err);
	return true;
}

void log_door_hold(struct log_door *door, bool hold)
{
	if (!door || door->held == hold)
		return;
	door->held = hold;
	if (door->question)
		journal_query_hold(door->question, hold);
}

void log_door_free(struct log_door **door)
{
	struct log_door *gone = *door;

	*door = NULL;
	if (!gone)
		return;
	journal_query_cancel(&gone->question);
	if (gone->ours)
		journal_close(&gone->journal);
	free(gone);
}
