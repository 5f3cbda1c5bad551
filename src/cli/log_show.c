/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox log show`: everything about one execution.
 * Process: the command's. Trusts: nothing of a row; see terminal.h.
 * Invariants: what a program wrote stands behind a margin, so that none of its lines looks
 *   like one of ours; everything is bounded: LINES of code and of each stream. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/log.h"
#include "cli/terminal.h"

#define LINES 40
#define EVENTS_SHOWN 50
#define FILES_SHOWN 20
#define CHART_COLUMNS 60
#define LINE_COLUMNS 200 /* where standard output is no terminal */

struct shown {
	json_t *row, *samples, *files;
};

static bool keep_row(void *arg, const json_t *row, const char *text, size_t len)
{
	(void)text;
	(void)len;
	*(json_t **)arg = json_incref((json_t *)row);
	return true;
}

static bool keep_rows(void *arg, const json_t *row, const char *text, size_t len)
{
	(void)text;
	(void)len;
	return json_array_append(arg, (json_t *)row) == 0;
}

static int collect(struct log_session *session, struct shown *shown)
{
	json_t *filter = NULL;
	int code;

	filter = json_pack("{s:s}", "id", session->options->id);
	if (!filter)
		return cli_fail(EXIT_WRONG_USAGE, "log show: an id is plain text");
	code = log_ask_rows(session, "show", filter, keep_row, &shown->row);
	if (code == 0 && !shown->row)
		code = cli_fail(1, "log show: there is no execution %s",
				session->options->id);
	/* By its whole id: another that begins so may come meanwhile. */
	if (code == 0 &&
	    json_object_set(filter, "id", json_object_get(shown->row, "id")) < 0)
		code = cli_fail(EXIT_OUR_FAULT, "out of memory");
	if (code == 0)
		code = log_ask_rows(session, "samples", filter, keep_rows,
				    shown->samples);
	if (code == 0)
		code = log_ask_rows(session, "files", filter, keep_rows, shown->files);
	json_decref(filter);
	return code;
}

/* ---- parts ---- */

static void put_line(struct buf *out, const char *name, const json_t *row,
		     const char *key, size_t columns)
{
	if (row_text_len(row, key) == 0)
		return;
	(void)buf_addf(out, "%-10s ", name);
	(void)terminal_fit(out, row_text(row, key), row_text_len(row, key),
			   columns > 31 ? columns - 11 : 20, NULL);
	(void)buf_add(out, "\n", 1);
}

static void put_block(struct buf *out, const char *name, const json_t *row,
		      const char *key, const char *bytes_key, size_t columns)
{
	double whole = row_number(row, bytes_key);
	size_t len = row_text_len(row, key);

	if (len == 0 && whole == 0)
		return;
	(void)buf_addf(out, "\n%s", name);
	if (whole > (double)len && len > 0) {
		(void)buf_add(out, " (its beginning, of ", 20);
		put_bytes(out, whole);
		(void)buf_add(out, ")", 1);
	}
	(void)buf_add(out, "\n", 1);
	if (len == 0)
		(void)buf_addf(out, "  not there (sandbox log verify says more)\n");
	(void)terminal_lines(out, row_text(row, key), len, "  | ",
			     columns > 24 ? columns - 4 : 20, LINES);
}

static void put_events(struct buf *out, const json_t *events, size_t columns, bool colour)
{
	size_t count = json_array_size(events);

	if (count == 0)
		return;
	(void)buf_add(out, "\nevents\n", 8);
	for (size_t i = 0; i < count && i < EVENTS_SHOWN; i++) {
		const json_t *event = json_array_get(events, i);
		struct buf line = { 0 };

		(void)terminal_fit(&line, row_text(event, "kind"),
				   row_text_len(event, "kind"), 40, NULL);
		(void)buf_add(&line, " ", 1);
		(void)terminal_fit(&line, row_text(event, "subject"),
				   row_text_len(event, "subject"), 200, NULL);
		if (row_number(event, "line") > 0)
			(void)buf_addf(&line, " at line %.0f", row_number(event, "line"));
		if (row_number(event, "count") > 1)
			(void)buf_addf(&line, ", %.0f times", row_number(event, "count"));
		if (row_text_len(event, "remedy") > 0) {
			(void)buf_add(&line, " - ", 3);
			(void)terminal_fit(&line, row_text(event, "remedy"),
					   row_text_len(event, "remedy"), 400, NULL);
		}
		(void)buf_addf(out,
			       colour ? "  \033[33m%8.0f ms\033[0m  " : "  %8.0f ms  ",
			       row_number(event, "at_ms"));
		(void)terminal_cell(out, row_text(event, "source"),
				    row_text_len(event, "source"), 10);
		(void)buf_add(out, "  ", 2);
		/* Made safe above; here only cut. */
		(void)terminal_fit(out, line.data ? line.data : "", line.len,
				   columns > 47 ? columns - 27 : 20, NULL);
		(void)buf_add(out, "\n", 1);
		buf_free(&line);
	}
	if (count > EVENTS_SHOWN)
		(void)buf_addf(out, "  and %zu more (--json has the first 1,000)\n",
			       count - EVENTS_SHOWN);
}

/* Memory against its limit; CPU as a share of the time between two looks. */
static void put_charts(struct buf *out, const struct shown *shown, size_t columns)
{
	size_t count = json_array_size(shown->samples);
	double *memory = calloc(count + 1, sizeof(*memory)),
	       *cpu = calloc(count + 1, sizeof(*cpu));
	const json_t *policy = json_object_get(shown->row, "policy");
	double limit = row_number(policy, "max_memory_mb") * 1024 * 1024, most = 0,
	       busiest = 0, last_ms = 0, last_cpu = 0;
	size_t width = columns < CHART_COLUMNS + 40 ? 20 : CHART_COLUMNS;

	for (size_t i = 0; memory && cpu && i < count; i++) {
		const json_t *sample = json_array_get(shown->samples, i);
		double at = row_number(sample, "at_ms"),
		       used = row_number(sample, "cpu_ms");

		memory[i] = row_number(sample, "memory_bytes");
		cpu[i] = at > last_ms && used > last_cpu
				 ? (used - last_cpu) / (at - last_ms) * 100
				 : 0;
		most = memory[i] > most ? memory[i] : most;
		busiest = cpu[i] > busiest ? cpu[i] : busiest;
		last_ms = at;
		last_cpu = used;
	}
	if (memory && cpu && count > 1) {
		(void)buf_add(out, "\nmemory     ", 12);
		(void)terminal_chart(out, memory, count, width, limit > most ? 0 : limit);
		(void)buf_add(out, "  most ", 7);
		put_bytes(out, most);
		(void)buf_add(out, "\ncpu        ", 12);
		(void)terminal_chart(out, cpu, count, width, 0);
		(void)buf_addf(out, "  most %.0f %%\n", busiest);
	}
	free(memory);
	free(cpu);
}

static void put_usage(struct buf *out, const json_t *row)
{
	const json_t *policy = json_object_get(row, "policy");

	if (!row_has(row, "wall_ms"))
		return;
	(void)buf_addf(out, "%-10s ", "used");
	put_ms(out, row_number(row, "wall_ms"));
	(void)buf_add(out, ", CPU ", 6);
	put_ms(out, row_number(row, "cpu_ms"));
	(void)buf_add(out, ", memory ", 9);
	put_bytes(out, row_number(row, "memory_peak_bytes"));
	if (row_number(policy, "max_memory_mb") > 0)
		(void)buf_addf(out, " of %.10g MiB", row_number(policy, "max_memory_mb"));
	(void)buf_addf(out, ", %.0f process%s", row_number(row, "processes_peak"),
		       row_number(row, "processes_peak") == 1 ? "" : "es");
	(void)buf_add(out, ", ", 2);
	put_bytes(out, row_number(row, "written_bytes"));
	(void)buf_add(out, " written\n", 9);
}

static void put_files(struct buf *out, const json_t *files, size_t columns)
{
	size_t count = json_array_size(files);

	if (count == 0)
		return;
	(void)buf_add(out, "\nfiles\n", 7);
	for (size_t i = 0; i < count && i < FILES_SHOWN; i++) {
		const json_t *file = json_array_get(files, i);

		(void)buf_add(out, "  ", 2);
		(void)terminal_fit(out, row_text(file, "path"),
				   row_text_len(file, "path"),
				   columns > 50 ? columns - 30 : 20, NULL);
		(void)buf_add(out, "  ", 2);
		put_bytes(out, row_number(file, "size"));
		(void)buf_add(out,
			      json_is_true(json_object_get(file, "stored"))
				      ? "\n"
				      : ", not kept\n",
			      json_is_true(json_object_get(file, "stored")) ? 1 : 11);
	}
	if (count > FILES_SHOWN)
		(void)buf_addf(out, "  and %zu more\n", count - FILES_SHOWN);
}

static int print(const struct log_options *options, const struct shown *shown)
{
	size_t columns = options->columns ? options->columns : LINE_COLUMNS;
	const json_t *row = shown->row;
	struct buf out = { 0 };
	int r;

	put_line(&out, "id", row, "id", columns);
	(void)buf_addf(&out, "%-10s ", "status");
	put_status(&out, row_text(row, "status"), 0, options->colour);
	if (row_text_len(row, "error") > 0) {
		(void)buf_add(&out, ": ", 2);
		(void)terminal_fit(&out, row_text(row, "error"),
				   row_text_len(row, "error"),
				   columns > 50 ? columns - 30 : 20, NULL);
	}
	(void)buf_addf(&out, "\n%-10s ", "started");
	put_time(&out, row_text(row, "at"));
	if (row_text_len(row, "ended_at") > 0) {
		(void)buf_addf(&out, "\n%-10s ", "ended");
		put_time(&out, row_text(row, "ended_at"));
	}
	(void)buf_add(&out, "\n", 1);
	put_line(&out, "caller", row, "caller", columns);
	put_line(&out, "door", row, "door", columns);
	put_line(&out, "session", row, "session", columns);
	put_line(&out, "filename", row, "filename", columns);
	put_line(&out, "preset", row, "preset", columns);
	put_line(&out, "python", row, "python", columns);
	put_usage(&out, row);
	put_charts(&out, shown, columns);
	put_block(&out, "code", row, "code", "code_bytes", columns);
	put_block(&out, "stdout", row, "stdout", "stdout_bytes", columns);
	put_block(&out, "stderr", row, "stderr", "stderr_bytes", columns);
	put_events(&out, json_object_get(row, "events"), columns, options->colour);
	put_files(&out, shown->files, columns);
	/* Memory that ran out on the way shows at the latest here. */
	r = buf_add(&out, "", 0) == 0 && log_put(&out) ? 0 : EXIT_OUR_FAULT;
	buf_free(&out);
	return r;
}

static int print_json(const struct shown *shown)
{
	char *text;
	int code = EXIT_OUR_FAULT;

	(void)json_object_set(shown->row, "samples", shown->samples);
	(void)json_object_set(shown->row, "files", shown->files);
	text = json_dumps(shown->row, JSON_COMPACT);
	if (text && log_put_json(text, strlen(text)))
		code = 0;
	free(text);
	return code;
}

int log_show(struct log_session *session)
{
	struct shown shown = { NULL, json_array(), json_array() };
	int code = collect(session, &shown);

	if (code == 0)
		code = session->options->json ? print_json(&shown)
					      : print(session->options, &shown);
	json_decref(shown.row);
	json_decref(shown.samples);
	json_decref(shown.files);
	return code;
}
