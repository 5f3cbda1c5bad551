/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox log verify`, `head`, `prune` and `stats`: one answer, printed.
 * Process: the command's. Trusts: nothing of an answer; see terminal.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/log.h"
#include "cli/terminal.h"

#define NOTED_MAX (64u << 10)
#define KEY_HEX 64

static bool keep_row(void *arg, const json_t *row, const char *text, size_t len)
{
	(void)text;
	(void)len;
	json_decref(*(json_t **)arg);
	*(json_t **)arg = json_incref((json_t *)row);
	return true;
}

/* 0 with *ret a new reference, or an exit code after a message. */
static int ask(struct log_session *session, const char *verb, const json_t *filter,
	       json_t **ret)
{
	int code = log_ask_rows(session, verb, filter, keep_row, ret);

	if (code == 0 && !*ret)
		code = cli_fail(130, "log %s: interrupted", verb);
	return code;
}

static int print_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	int code = text && log_put_json(text, strlen(text)) ? 0 : EXIT_OUR_FAULT;

	free(text);
	return code;
}

static void put_text(struct buf *out, const json_t *row, const char *key, size_t columns)
{
	(void)terminal_fit(out, row_text(row, key), row_text_len(row, key), columns,
			   NULL);
}

/* A text itself, or the file that has it. */
static int text_or_file(const char *given, const char *option, size_t max, char **ret)
{
	size_t len;
	int r = fd_read_file(AT_FDCWD, given, max, ret, &len);

	if (r == -ENOENT || r == -ENAMETOOLONG) {
		*ret = strdup(given);
		r = *ret ? 0 : -ENOMEM;
		len = r == 0 ? strlen(*ret) : 0;
	}
	if (r < 0)
		return cli_fail(EXIT_WRONG_USAGE, "log verify: %s %s: %s", option, given,
				strerror(-r));
	while (len > 0 && isspace((unsigned char)(*ret)[len - 1]))
		(*ret)[--len] = '\0';
	return 0;
}

/* ---- verify ---- */

/* The first word of hexadecimal digits that is as long as a key. */
static const char *key_in(char *text)
{
	static const char digits[] = "0123456789abcdefABCDEF";

	for (char *at = text; *at; at++) {
		size_t len = strspn(at, digits);

		if (len == KEY_HEX) {
			at[len] = '\0';
			return at;
		}
		at += len ? len - 1 : 0;
	}
	return NULL;
}

static int verify_filter(const struct log_options *options, json_t *filter)
{
	_cleanup_free_ char *key = NULL;
	_cleanup_free_ char *noted = NULL;
	const char *hex;
	int code = 0;

	if (options->deep && json_object_set_new(filter, "deep", json_true()) < 0)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	if (options->public_key) {
		code = text_or_file(options->public_key, "--public-key", NOTED_MAX, &key);
		if (code != 0)
			return code;
		hex = key_in(key);
		if (!hex)
			return cli_fail(EXIT_WRONG_USAGE,
					"log verify: --public-key wants %d hexadecimal"
					" digits, or a file that has them",
					KEY_HEX);
		if (json_object_set_new(filter, "public_key", json_string(hex)) < 0)
			return cli_fail(EXIT_OUR_FAULT, "out of memory");
	}
	if (options->noted) {
		code = text_or_file(options->noted, "--head", NOTED_MAX, &noted);
		if (code != 0)
			return code;
		if (json_object_set_new(filter, "noted", json_string(noted)) < 0)
			return cli_fail(EXIT_WRONG_USAGE,
					"log verify: --head wants what `sandbox log head`"
					" printed");
	}
	return 0;
}

static void put_finding(struct buf *out, const json_t *row, bool colour)
{
	const json_t *finding = json_object_get(row, "finding");

	(void)buf_addf(out, colour ? "\033[31maltered\033[0m: " : "altered: ");
	put_text(out, finding, "table", 60);
	if (row_number(finding, "seq") > 0)
		(void)buf_addf(out, " record %.0f", row_number(finding, "seq"));
	(void)buf_add(out, ": ", 2);
	put_text(out, finding, "what", 400);
	(void)buf_add(out, "\n", 1);
}

static void put_verified(struct buf *out, const json_t *row, bool colour)
{
	const json_t *notes = json_object_get(row, "notes");
	const char *table;
	json_t *count;
	double rows = 0;

	json_object_foreach(json_object_get(row, "rows"), table, count)
		rows += json_number_value(count);
	if (json_is_true(json_object_get(row, "ok")))
		(void)buf_addf(out,
			       colour ? "\033[32mok\033[0m: %.0f records"
				      : "ok: %.0f records",
			       rows);
	else
		put_finding(out, row, colour);
	if (json_is_true(json_object_get(row, "ok")))
		(void)buf_addf(out, ", %.0f objects, %.0f signatures",
			       row_number(row, "objects"), row_number(row, "signatures"));
	if (json_is_true(json_object_get(row, "ok")) && row_number(row, "words") > 0)
		(void)buf_addf(out, ", %.0f words of the search index",
			       row_number(row, "words"));
	if (json_is_true(json_object_get(row, "ok")))
		(void)buf_addf(out, ", in %.2f s\n", row_number(row, "seconds"));
	for (size_t i = 0; i < json_array_size(notes) && i < 20; i++) {
		const json_t *note = json_array_get(notes, i);

		(void)buf_add(out, "  ", 2);
		(void)terminal_fit(out,
				   json_is_string(note) ? json_string_value(note) : "",
				   json_string_length(note), 400, NULL);
		(void)buf_add(out, "\n", 1);
	}
}

int log_verify(struct log_session *session)
{
	const struct log_options *options = session->options;
	struct buf out = { 0 };
	json_t *row = NULL, *filter = json_object();
	int code = verify_filter(options, filter);

	if (code == 0)
		code = ask(session, "verify", filter, &row);
	if (code == 0 && options->json) {
		code = print_json(row);
	} else if (code == 0) {
		put_verified(&out, row, options->colour);
		code = log_put(&out) ? 0 : EXIT_OUR_FAULT;
	}
	if (code == 0 && !json_is_true(json_object_get(row, "ok")))
		code = 1;
	buf_free(&out);
	json_decref(row);
	json_decref(filter);
	return code;
}

/* ---- head ---- */

/* The text to note, on one line or more as the journal made it; with --signed what it takes
 * to check it without the secret. */
int log_head(struct log_session *session)
{
	const struct log_options *options = session->options;
	struct buf out = { 0 };
	json_t *row = NULL;
	int code = ask(session, "head", NULL, &row);

	if (code == 0 && options->json) {
		code = print_json(row);
	} else if (code == 0) {
		(void)terminal_lines(&out, row_text(row, "head"),
				     row_text_len(row, "head"), "", TERMINAL_UNBOUNDED,
				     1000);
		if (options->signed_too) {
			(void)buf_add(&out, "signature ", 10);
			put_text(&out, row, "signature", 1000);
			(void)buf_add(&out, "\npublic-key ", 12);
			put_text(&out, row, "public_key", 1000);
			(void)buf_add(&out, "\n", 1);
		}
		code = log_put(&out) ? 0 : EXIT_OUR_FAULT;
	}
	buf_free(&out);
	json_decref(row);
	return code;
}

/* ---- prune ---- */

int log_prune(struct log_session *session)
{
	const struct log_options *options = session->options;
	struct buf out = { 0 };
	json_t *row = NULL;
	int code;

	(void)json_object_set_new(options->filter, "dry_run",
				  json_boolean(options->dry_run));
	code = ask(session, "prune", options->filter, &row);
	if (code == 0 && options->json) {
		code = print_json(row);
	} else if (code == 0) {
		(void)buf_addf(&out, "%s %.0f execution%s",
			       options->dry_run ? "would remove" : "removed",
			       row_number(row, "executions"),
			       row_number(row, "executions") == 1 ? "" : "s");
		if (row_number(row, "bytes") > 0) {
			(void)buf_add(&out, ", ", 2);
			put_bytes(&out, row_number(row, "bytes"));
		}
		(void)buf_add(&out, "\n", 1);
		code = log_put(&out) ? 0 : EXIT_OUR_FAULT;
	}
	buf_free(&out);
	json_decref(row);
	return code;
}

/* ---- stats ---- */

static void put_pairs(struct buf *out, const char *title, const json_t *pairs)
{
	const char *name;
	json_t *count;

	if (json_object_size(pairs) == 0)
		return;
	(void)buf_addf(out, "%s\n", title);
	json_object_foreach((json_t *)pairs, name, count)
	{
		(void)buf_add(out, "  ", 2);
		(void)terminal_cell(out, name, strlen(name), 20);
		(void)buf_addf(out, " %12.0f\n", json_number_value(count));
	}
}

int log_stats(struct log_session *session)
{
	static const char *const counts[] = { "executions", "open", "samples", "sessions",
					      "files" };
	const struct log_options *options = session->options;
	struct buf out = { 0 };
	json_t *row = NULL;
	int code = ask(session, "stats", NULL, &row);

	if (code == 0 && options->json) {
		code = print_json(row);
	} else if (code == 0) {
		for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
			(void)buf_addf(&out, "%-22s %12.0f\n", counts[i],
				       row_number(row, counts[i]));
		(void)buf_addf(&out, "%-22s ", "size of the database");
		put_bytes(&out, row_number(row, "database_bytes"));
		if (row_text_len(row, "first_at") > 0) {
			(void)buf_addf(&out, "\n%-22s ", "first");
			put_time(&out, row_text(row, "first_at"));
			(void)buf_addf(&out, "\n%-22s ", "last");
			put_time(&out, row_text(row, "last_at"));
		}
		(void)buf_add(&out, "\n", 1);
		put_pairs(&out, "by status", json_object_get(row, "status"));
		put_pairs(&out, "events by kind", json_object_get(row, "events"));
		code = log_put(&out) ? 0 : EXIT_OUR_FAULT;
	}
	buf_free(&out);
	json_decref(row);
	return code;
}
