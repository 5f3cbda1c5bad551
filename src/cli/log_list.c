/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox log list` and `follow`: a line for each record.
 * Process: the command's. Trusts: nothing of a row: each text of it goes through
 *   terminal.h, each number is a number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/log.h"
#include "cli/terminal.h"

#define CODE_COLUMNS_LEAST 16
#define CODE_COLUMNS_PIPE 120
#define ID_COLUMNS 32

/* ---- rows ---- */

const char *row_text(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

size_t row_text_len(const json_t *row, const char *key)
{
	return json_string_length(json_object_get(row, key));
}

double row_number(const json_t *row, const char *key)
{
	double value = json_number_value(json_object_get(row, key));

	return isfinite(value) ? value : 0;
}

bool row_has(const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);

	return value && !json_is_null(value);
}

/* What fails here is memory, which the next buf_add says once more. */
void put_bytes(struct buf *out, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes >= 1024 && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	(void)buf_addf(out, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes,
		       units[unit]);
}

void put_ms(struct buf *out, double ms)
{
	if (ms < 10)
		(void)buf_addf(out, "%.1f ms", ms);
	else if (ms < 1000)
		(void)buf_addf(out, "%.0f ms", ms);
	else if (ms < 600000)
		(void)buf_addf(out, "%.2f s", ms / 1000);
	else
		(void)buf_addf(out, "%.0f min", ms / 60000);
}

void put_time(struct buf *out, const char *utc)
{
	struct tm parts = { 0 };
	const char *rest = strptime(utc, "%Y-%m-%dT%H:%M:%S", &parts);
	time_t seconds = timegm(&parts);
	char text[64];

	if (!rest || !localtime_r(&seconds, &parts) ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts) == 0) {
		(void)terminal_cell(out, utc, strlen(utc), 19);
		return;
	}
	(void)terminal_cell(out, text, strlen(text), 19);
}

void put_status(struct buf *out, const char *status, size_t columns, bool colour)
{
	const char *code = strcmp(status, "ok") == 0        ? "32"
			   : strcmp(status, "running") == 0 ? "36"
							    : "31";

	if (colour)
		(void)buf_addf(out, "\033[%sm", code);
	(void)terminal_cell(out, status, strlen(status), columns);
	if (colour)
		(void)buf_add(out, "\033[0m", 4);
}

/* ---- list ---- */

enum { WITH_USAGE = 1, WITH_CALLER = 2, WITH_ID = 4 };

struct table {
	const struct log_options *options;
	unsigned with;
	size_t code_columns;
	bool headed;
	size_t rows;
};

/* What a narrow terminal has no room for goes first: who, what it used. */
static void measure(struct table *table)
{
	size_t width = table->options->columns, used = 19 + 2 + 9 + 2;

	table->with = WITH_USAGE | WITH_CALLER | WITH_ID;
	table->code_columns = CODE_COLUMNS_PIPE;
	if (width == TERMINAL_UNBOUNDED)
		return;
	table->with = 0;
	if (width >= used + ID_COLUMNS + 2 + CODE_COLUMNS_LEAST) {
		table->with |= WITH_ID;
		used += ID_COLUMNS + 2;
	}
	if (width >= used + 31 + CODE_COLUMNS_LEAST) {
		table->with |= WITH_USAGE;
		used += 31;
	}
	if (width >= used + 18 + 2 * CODE_COLUMNS_LEAST) {
		table->with |= WITH_CALLER;
		used += 18;
	}
	table->code_columns = width > used + 1 ? width - used - 1 : 1;
}

static void put_cell_of(struct buf *line, void (*put)(struct buf *, double),
			const json_t *row, const char *key, size_t columns)
{
	struct buf cell = { 0 };

	if (row_has(row, key))
		put(&cell, row_number(row, key));
	for (size_t n = cell.len; n < columns; n++)
		(void)buf_add(line, " ", 1);
	(void)buf_add(line, cell.data ? cell.data : "", cell.len);
	(void)buf_add(line, "  ", 2);
	buf_free(&cell);
}

static void put_count(struct buf *out, double count)
{
	if (count > 0)
		(void)buf_addf(out, "%.0f", count);
}

static void put_head(const struct table *table, struct buf *line)
{
	(void)terminal_cell(line, "STARTED", 7, 21);
	(void)terminal_cell(line, "STATUS", 6, 11);
	if (table->with & WITH_USAGE)
		(void)buf_addf(line, "%8s  %10s  %6s   ", "TIME", "MEMORY", "EVENTS");
	if (table->with & WITH_CALLER)
		(void)terminal_cell(line, "CALLER", 6, 18);
	if (table->with & WITH_ID)
		(void)terminal_cell(line, "ID", 2, ID_COLUMNS + 2);
	(void)buf_add(line, "CODE\n", 5);
}

static void put_row(const struct table *table, struct buf *line, const json_t *row)
{
	put_time(line, row_text(row, "at"));
	(void)buf_add(line, "  ", 2);
	put_status(line, row_text(row, "status"), 9, table->options->colour);
	(void)buf_add(line, "  ", 2);
	if (table->with & WITH_USAGE) {
		put_cell_of(line, put_ms, row, "wall_ms", 8);
		put_cell_of(line, put_bytes, row, "memory_peak_bytes", 10);
		put_cell_of(line, put_count, row, "event_count", 6);
		(void)buf_add(line, " ", 1);
	}
	if (table->with & WITH_CALLER) {
		(void)terminal_cell(line, row_text(row, "caller"),
				    row_text_len(row, "caller"), 16);
		(void)buf_add(line, "  ", 2);
	}
	if (table->with & WITH_ID) {
		(void)terminal_cell(line, row_text(row, "id"), row_text_len(row, "id"),
				    ID_COLUMNS);
		(void)buf_add(line, "  ", 2);
	}
	(void)terminal_fit(line, row_text(row, "code"), row_text_len(row, "code"),
			   table->code_columns, NULL);
}

static bool on_row(void *arg, const json_t *row, const char *text, size_t len)
{
	struct table *table = arg;
	struct buf line = { 0 };
	bool ok;

	table->rows++;
	if (table->options->json)
		return log_put_json(text, len);
	if (!table->headed)
		put_head(table, &line);
	table->headed = true;
	put_row(table, &line, row);
	ok = buf_add(&line, "\n", 1) == 0 && log_put(&line);
	buf_free(&line);
	return ok;
}

int log_list(struct log_session *session)
{
	struct table table = { .options = session->options };

	measure(&table);
	return log_ask_rows(session, "list", session->options->filter, on_row, &table);
}

/* ---- follow ---- */

static void put_event(struct buf *line, const json_t *row, bool colour)
{
	static const char *const keys[] = { "kind", "subject", "remedy" };

	(void)buf_addf(line, colour ? "\033[33m%-9s\033[0m" : "%-9s",
		       strcmp(row_text(row, "kind"), "connection") == 0 ? "connected"
									: "denied");
	(void)buf_add(line, "  ", 2);
	(void)terminal_cell(line, row_text(row, "execution"),
			    row_text_len(row, "execution"), ID_COLUMNS);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (row_text_len(row, keys[i]) == 0)
			continue;
		(void)buf_add(line,
			      i == 2   ? " - "
			      : i == 1 ? " "
				       : "  ",
			      i == 1   ? 1
			      : i == 2 ? 3
				       : 2);
		(void)terminal_fit(line, row_text(row, keys[i]),
				   row_text_len(row, keys[i]), 200, NULL);
	}
	(void)buf_add(line, " [", 2);
	(void)terminal_fit(line, row_text(row, "source"), row_text_len(row, "source"), 40,
			   NULL);
	(void)buf_add(line, "]", 1);
}

static void put_verdict(struct buf *line, const json_t *row, bool colour)
{
	put_status(line, row_text(row, "status"), 9, colour);
	(void)buf_add(line, "  ", 2);
	(void)terminal_cell(line, row_text(row, "id"), row_text_len(row, "id"),
			    ID_COLUMNS);
	(void)buf_add(line, "  ", 2);
	put_ms(line, row_number(row, "wall_ms"));
	(void)buf_add(line, ", ", 2);
	put_bytes(line, row_number(row, "memory_peak_bytes"));
	if (row_number(row, "event_count") > 0)
		(void)buf_addf(line, ", %.0f events", row_number(row, "event_count"));
}

/* One line for each record; cut where the terminal ends. */
static void put_record(struct buf *line, const json_t *row, const char *record,
		       bool colour)
{
	bool begins = strcmp(record, "begin") == 0;

	if (strcmp(record, "event") == 0) {
		put_event(line, row, colour);
		return;
	}
	put_time(line, row_text(row, strcmp(record, "verdict") == 0 ? "ended_at" : "at"));
	(void)buf_add(line, "  ", 2);
	if (strcmp(record, "verdict") == 0) {
		put_verdict(line, row, colour);
		return;
	}
	(void)terminal_cell(line, begins ? "begins" : row_text(row, "what"),
			    begins ? 6 : row_text_len(row, "what"), 9);
	(void)buf_add(line, "  ", 2);
	(void)terminal_cell(line, row_text(row, "id"), row_text_len(row, "id"),
			    ID_COLUMNS);
	(void)buf_add(line, "  ", 2);
	if (!begins) {
		(void)buf_add(line, "session", 7);
		return;
	}
	(void)terminal_fit(line, row_text(row, "caller"), row_text_len(row, "caller"), 40,
			   NULL);
	(void)buf_add(line, ": ", 2);
	(void)terminal_fit(line, row_text(row, "code"), row_text_len(row, "code"),
			   CODE_COLUMNS_PIPE, NULL);
}

static bool on_record(void *arg, const json_t *row, const char *text, size_t len)
{
	const struct log_options *options = arg;
	const char *record = row_text(row, "record");
	struct buf line = { 0 };
	bool ok;

	if (options->json)
		return log_put_json(text, len);
	if (strcmp(record, "following") == 0)
		return true;
	/* As wide as the times of the others. */
	if (strcmp(record, "event") == 0)
		(void)buf_addf(&line, "%21s", "");
	put_record(&line, row, record, options->colour);
	ok = buf_add(&line, "\n", 1) == 0 && log_put(&line);
	buf_free(&line);
	return ok;
}

int log_follow(struct log_session *session)
{
	return log_ask_rows(session, "follow", session->options->filter, on_record,
			    (void *)session->options);
}
