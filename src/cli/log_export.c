/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox log export`: whole records as JSON lines, or a table as CSV.
 * Process: the command's. Trusts: nothing of a row; see terminal.h.
 * Invariants: a record is one line, whatever is in it. */
#include <string.h>

#include "cli/cli.h"
#include "cli/log.h"
#include "cli/terminal.h"

#define PAGE 100000

struct exported {
	bool csv, headed;
	json_int_t rows, last;
};

static const char *const csv_columns[] = { "seq",
					   "id",
					   "at",
					   "ended_at",
					   "status",
					   "error",
					   "caller",
					   "door",
					   "session",
					   "filename",
					   "preset",
					   "python",
					   "wall_ms",
					   "cpu_ms",
					   "memory_peak_bytes",
					   "processes_peak",
					   "event_count",
					   "code_bytes",
					   "code" };
#define CSV_COUNT (sizeof(csv_columns) / sizeof(csv_columns[0]))

static bool put_csv(struct exported *exported, const json_t *row)
{
	struct buf line = { 0 };
	bool ok;

	for (size_t i = 0; !exported->headed && i < CSV_COUNT; i++)
		(void)buf_addf(&line, "%s%s", i ? "," : "", csv_columns[i]);
	if (!exported->headed)
		(void)buf_add(&line, "\r\n", 2);
	exported->headed = true;
	for (size_t i = 0; i < CSV_COUNT; i++) {
		const json_t *value = json_object_get(row, csv_columns[i]);

		if (i > 0)
			(void)buf_add(&line, ",", 1);
		if (json_is_integer(value))
			(void)buf_addf(&line, "%lld",
				       (long long)json_integer_value(value));
		else if (json_is_number(value))
			(void)buf_addf(&line, "%.3f", json_number_value(value));
		else if (json_is_string(value))
			(void)terminal_csv(&line, json_string_value(value),
					   json_string_length(value));
	}
	ok = buf_add(&line, "\r\n", 2) == 0 && log_put(&line);
	buf_free(&line);
	return ok;
}

static bool on_row(void *arg, const json_t *row, const char *text, size_t len)
{
	struct exported *exported = arg;

	exported->rows++;
	exported->last = json_integer_value(json_object_get(row, "seq"));
	return exported->csv ? put_csv(exported, row) : log_put_json(text, len);
}

/* Oldest first, as far as the filter does not say how many: page by page, as long as they
 * are full. */
int log_export(struct log_session *session)
{
	const struct log_options *options = session->options;
	struct exported exported = { .csv = options->format &&
					    strcmp(options->format, "csv") == 0 };
	bool all = !json_object_get(options->filter, "limit");
	bool down = json_is_true(json_object_get(options->filter, "reverse"));
	json_int_t before;
	int code;

	(void)json_object_set_new(options->filter, "full", json_boolean(!exported.csv));
	(void)json_object_set_new(options->filter, "reverse", json_boolean(!down));
	if (all)
		(void)json_object_set_new(options->filter, "limit", json_integer(PAGE));
	do {
		before = exported.rows;
		code = log_ask_rows(session, "list", options->filter, on_row, &exported);
		(void)json_object_set_new(options->filter, down ? "before" : "after",
					  json_integer(exported.last));
	} while (code == 0 && all && exported.rows - before == PAGE &&
		 session->spawned->door >= 0);
	return code;
}
