/* SPDX-License-Identifier: MIT
 * Purpose: what a person is told about one result, in a few lines.
 * Process: any that uses libsbx. Any thread.
 * Trusts: nothing: names, values and subjects are the program's text, and it would like
 * to write on the terminal.
 * Invariants: every byte of a result passes summary_line(); at most EVENTS_SHOWN events,
 *   DISPLAYS_SHOWN displays and NAMES_SHOWN missing limits are listed, and no text is longer than its columns, so
 *   that a summary is bounded whatever the result holds. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "lib/internal.h"

#define EVENTS_SHOWN 10
#define NAMES_SHOWN 20
#define DISPLAYS_SHOWN 10
#define SUBJECT_COLUMNS 120
#define TEXT_COLUMNS 200

/* ---- text ---- */

size_t utf8_next(const char *s, size_t len, uint32_t *ret_character)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *at = (const unsigned char *)s;
	uint32_t c;
	size_t n, i;

	if (len == 0)
		return 0;
	if (at[0] < 0x80) {
		*ret_character = at[0];
		return 1;
	}
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	n = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	if (len < n)
		return 0;
	c = at[0] & (0xffu >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret_character = c;
	return n;
}

bool utf8_is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x34f ||
	       c == 0x61c || c == 0x115f || c == 0x1160 || c == 0x17b4 || c == 0x17b5 ||
	       (c >= 0x180b && c <= 0x180f) || c == 0x3164 || c == 0xffa0 ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe ||
	       (c >= 0xe0000 && c <= 0xe0fff);
}

static int add_character(struct buf *out, const char *text, size_t n, uint32_t c)
{
	if (n == 0)
		return buf_addf(out, "\\x%02x", (unsigned char)*text);
	if (c == '\n')
		return buf_add(out, "\\n", 2);
	if (c == '\t')
		return buf_add(out, "\\t", 2);
	if (c < 0x100 && utf8_is_unsafe(c))
		return buf_addf(out, "\\x%02x", (unsigned)c);
	if (utf8_is_unsafe(c))
		return buf_addf(out, "\\u{%x}", (unsigned)c);
	return buf_add(out, text, n);
}

char *summary_line(const char *text, size_t len, size_t columns)
{
	struct buf out = { 0 };
	size_t at = 0, n, shown;
	uint32_t c = 0;
	int r = buf_add(&out, "", 0);

	for (shown = 0; r == 0 && at < len && shown < columns; shown++) {
		n = utf8_next(text + at, len - at, &c);
		r = add_character(&out, text + at, n, c);
		at += n ? n : 1;
	}
	if (r == 0 && at < len)
		r = buf_add(&out, "...", 3);
	if (r < 0) {
		buf_free(&out);
		return NULL;
	}
	return out.data;
}

/* ---- a result's parts, of whatever type they really are ---- */

static double number_at(const json_t *object, const char *key)
{
	double value = json_number_value(json_object_get(object, key));

	return isfinite(value) && value > 0 ? value : 0;
}

static char *line_of(const json_t *value, size_t columns)
{
	return json_is_string(value) ? summary_line(json_string_value(value),
						    json_string_length(value), columns)
				     : strdup("");
}

struct paper {
	struct buf text;
	bool colour;
	bool failed;
};

static void put(struct paper *paper, const char *text)
{
	if (buf_add(&paper->text, text, strlen(text)) < 0)
		paper->failed = true;
}

__attribute__((format(printf, 2, 3))) static void putf(struct paper *paper,
						       const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put(paper, text);
}

/* A string of the result; anything else is nothing. */
static void put_string(struct paper *paper, const json_t *value, size_t columns)
{
	_cleanup_free_ char *line = line_of(value, columns);

	if (line)
		put(paper, line);
	else
		paper->failed = true;
}

static void put_coloured(struct paper *paper, const char *code, const char *text)
{
	if (paper->colour)
		putf(paper, "\033[%sm%s\033[0m", code, text);
	else
		put(paper, text);
}

static void put_bytes(struct paper *paper, double bytes)
{
	if (bytes < 1024)
		putf(paper, "%.0f bytes", bytes);
	else if (bytes < 1024 * 1024)
		putf(paper, "%.1f KiB", bytes / 1024);
	else
		putf(paper, "%.1f MiB", bytes / (1024 * 1024));
}

static void put_ms(struct paper *paper, double ms)
{
	if (ms < 10)
		putf(paper, "%.1f ms", ms);
	else if (ms < 1000)
		putf(paper, "%.0f ms", ms);
	else
		putf(paper, "%.2f s", ms / 1000);
}

/* ---- the verdict ---- */

static void put_limit(struct paper *paper, const json_t *policy, const char *field,
		      const char *unit)
{
	double limit = number_at(policy, field);

	put(paper, field);
	if (limit > 0)
		putf(paper, " (%.10g%s%s)", limit, *unit ? " " : "", unit);
}

static void put_error(struct paper *paper, const json_t *error)
{
	const char *name = json_string_value(json_object_get(error, "name"));
	double line = number_at(error, "line");
	const json_t *value = json_object_get(error, "value");
	int number = json_is_string(value) ? atoi(json_string_value(value))
					   : (int)number_at(error, "value");
	const char *signal_name = NULL;

	if (!name) {
		put(paper, "no error was recorded");
		return;
	}
	if (strcmp(name, "SystemExit") == 0) {
		putf(paper, "the program exited with %d", number);
		return;
	}
	if (strcmp(name, "Signal") == 0) {
		signal_name = number > 0 && number < NSIG ? sigabbrev_np(number) : NULL;
		putf(paper, "the program died of signal %d%s%s", number,
		     signal_name ? " SIG" : "", signal_name ? signal_name : "");
		return;
	}
	put_string(paper, json_object_get(error, "name"), SUBJECT_COLUMNS);
	if (json_string_length(value) > 0) {
		put(paper, ": ");
		put_string(paper, value, TEXT_COLUMNS);
	}
	if (line > 0)
		putf(paper, " (line %.0f)", line);
}

static const struct {
	const char *words, *colour;
} verdicts[] = {
	[SBX_OK] = { "ok", "32" },           [SBX_ERROR] = { "error", "31" },
	[SBX_TIMEOUT] = { "timeout", "31" }, [SBX_MEMORY] = { "memory", "31" },
	[SBX_CPU] = { "cpu", "31" },         [SBX_PROCESSES] = { "processes", "31" },
	[SBX_OUTPUT] = { "output", "31" },   [SBX_DISK] = { "disk", "31" },
	[SBX_DENIED] = { "denied", "31" },   [SBX_KILLED] = { "killed", "31" },
	[SBX_FAULT] = { "fault", "31" },
};

static void put_reason(struct paper *paper, enum sbx_status status, const json_t *result)
{
	const json_t *policy = json_object_get(result, "policy");

	if (status != SBX_OK)
		put(paper, ": ");
	switch (status) {
	case SBX_OK:
		break;
	case SBX_TIMEOUT:
		put(paper, "ended, it ran longer than ");
		put_limit(paper, policy, "max_execution_time", "s");
		break;
	case SBX_MEMORY:
		put(paper, "ended, it needed more than ");
		put_limit(paper, policy, "max_memory_mb", "MiB");
		break;
	case SBX_CPU:
		put(paper, "ended, it used more than ");
		put_limit(paper, policy, "max_cpu_time", "s");
		break;
	case SBX_PROCESSES:
		put(paper, "it wanted more threads and processes than ");
		put_limit(paper, policy, "max_processes", "");
		break;
	case SBX_OUTPUT:
		put(paper, "ended, it wrote more than 64 times ");
		put_limit(paper, policy, "max_output_bytes", "bytes");
		break;
	case SBX_DISK:
		put(paper, "it wrote more files than ");
		put_limit(paper, policy, "max_disk_mb", "MiB");
		break;
	case SBX_KILLED:
		put(paper, "stopped on request");
		break;
	case SBX_FAULT:
		put(paper, "not the program's doing, ");
		put_error(paper, json_object_get(result, "error"));
		break;
	case SBX_ERROR:
	case SBX_DENIED:
		put_error(paper, json_object_get(result, "error"));
		break;
	}
}

static void put_verdict(struct paper *paper, const json_t *result)
{
	const char *name = json_string_value(json_object_get(result, "status"));
	const json_t *usage = json_object_get(result, "usage");
	double peak = number_at(usage, "memory_peak_bytes");
	double limit = number_at(json_object_get(result, "policy"), "max_memory_mb");
	int status = SBX_FAULT;

	for (int i = SBX_OK; name && i <= SBX_FAULT; i++)
		if (strcmp(name, verdicts[i].words) == 0)
			status = i;
	put_coloured(paper, verdicts[status].colour, verdicts[status].words);
	put_reason(paper, (enum sbx_status)status, result);
	if (!json_is_object(usage)) {
		put(paper, "\n");
		return;
	}
	put(paper, status == SBX_OK ? " in " : "\n  after ");
	put_ms(paper, number_at(usage, "wall_ms"));
	put(paper, ", CPU ");
	put_ms(paper, number_at(usage, "cpu_ms"));
	if (peak > 0) {
		put(paper, ", memory ");
		put_bytes(paper, peak);
		if (limit > 0)
			putf(paper, " of %.10g MiB", limit);
	}
	put(paper, "\n");
}

/* ---- events ---- */

/* What the subject of a denied operation is. A kind that is not here is named as it
 * is. */
static const struct {
	const char *kind, *words;
} denials[] = {
	{ "import", "import of" },        { "module", "import of" },
	{ "open", "opening of" },         { "write", "writing to" },
	{ "path", "access to" },          { "listdir", "listing of" },
	{ "connect", "connection to" },   { "host", "connection to" },
	{ "resolve", "look-up of" },      { "socket", "socket" },
	{ "exec", "execution of" },       { "syscall", "system call" },
	{ "subprocess", "execution of" },
};

static void put_event_kind(struct paper *paper, const json_t *kind, const char *name)
{
	const char *words = NULL;

	/* What was reached: told, and nothing to be warned of. */
	if (strcmp(name, "connection") == 0) {
		put(paper, "connected:");
		return;
	}
	put_coloured(paper, "33", strcmp(name, "limit") == 0 ? "limit:" : "denied:");
	for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++)
		if (strcmp(name, denials[i].kind) == 0)
			words = denials[i].words;
	if (words)
		putf(paper, " %s", words);
	else if (strcmp(name, "limit") != 0) {
		put(paper, " ");
		put_string(paper, kind, SUBJECT_COLUMNS);
	}
}

static void put_event(struct paper *paper, const json_t *event)
{
	const json_t *kind = json_object_get(event, "kind"),
		     *remedy = json_object_get(event, "remedy");
	const json_t *source = json_object_get(event, "source");
	const char *name = json_is_string(kind) ? json_string_value(kind) : "";
	double line = number_at(event, "line"), count = number_at(event, "count");

	if (strcmp(name, "more") == 0) {
		putf(paper, "  %.0f further events were only counted\n", count);
		return;
	}
	put(paper, "  ");
	put_event_kind(paper, kind, name);
	if (json_string_length(json_object_get(event, "subject")) > 0) {
		put(paper, " ");
		put_string(paper, json_object_get(event, "subject"), SUBJECT_COLUMNS);
	}
	if (line > 0)
		putf(paper, " at line %.0f", line);
	if (count > 1)
		putf(paper, ", %.0f times", count);
	if (json_is_integer(json_object_get(event, "sent_bytes"))) {
		put(paper, ", ");
		put_bytes(paper, number_at(event, "sent_bytes"));
		put(paper, " sent, ");
		put_bytes(paper, number_at(event, "received_bytes"));
		put(paper, " received");
	}
	if (json_string_length(remedy) > 0) {
		put(paper, " - ");
		put_string(paper, remedy, TEXT_COLUMNS);
	}
	/* Who says so: what comes from inside the interpreter is a claim, its remedy
	 * too. */
	if (json_string_length(source) > 0) {
		put(paper, " [");
		put_string(paper, source, SUBJECT_COLUMNS);
		put(paper, "]");
	}
	put(paper, "\n");
}

static void put_events(struct paper *paper, const json_t *events)
{
	size_t count = json_array_size(events), i;

	for (i = 0; i < count && i < EVENTS_SHOWN; i++)
		put_event(paper, json_array_get(events, i));
	if (count > EVENTS_SHOWN)
		putf(paper, "  and %zu more events: --json has them all\n",
		     count - EVENTS_SHOWN);
}

/* ---- displays ---- */

/* Of the first 24 bytes of a PNG, which are 32 characters of base64. */
static bool png_size(const char *base64, unsigned ret[2])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char bytes[24];

	if (strnlen(base64, 32) < 32)
		return false;
	for (size_t i = 0; i < 8; i++) {
		uint32_t group = 0;

		for (size_t j = 0; j < 4; j++) {
			const char *digit = strchr(digits, base64[4 * i + j]);

			if (!digit)
				return false;
			group = group << 6 | (uint32_t)(digit - digits);
		}
		bytes[3 * i] = (unsigned char)(group >> 16);
		bytes[3 * i + 1] = (unsigned char)(group >> 8);
		bytes[3 * i + 2] = (unsigned char)group;
	}
	if (memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) != 0)
		return false;
	for (size_t i = 0; i < 2; i++)
		ret[i] = (unsigned)bytes[16 + 4 * i] << 24 |
			 (unsigned)bytes[17 + 4 * i] << 16 |
			 (unsigned)bytes[18 + 4 * i] << 8 | bytes[19 + 4 * i];
	return true;
}

static void put_mime(struct paper *paper, const char *mime, const json_t *data)
{
	_cleanup_free_ char *line = summary_line(mime, strlen(mime), SUBJECT_COLUMNS);
	size_t len = json_string_length(data);
	unsigned size[2];

	put(paper, line ? line : "?");
	if (!json_is_string(data))
		return;
	if (strcmp(mime, "image/png") == 0 && png_size(json_string_value(data), size))
		putf(paper, " %ux%u", size[0], size[1]);
	put(paper, " ");
	put_bytes(paper,
		  strncmp(mime, "image/", 6) == 0 && strcmp(mime, "image/svg+xml") != 0
			  ? (double)(len / 4 * 3)
			  : (double)len);
}

static void put_display(struct paper *paper, const json_t *bundle)
{
	size_t others = 0;
	const char *mime;
	json_t *data;

	put(paper, "    ");
	put_string(paper, json_object_get(bundle, "text/plain"), SUBJECT_COLUMNS);
	json_object_foreach((json_t *)bundle, mime, data)
	{
		if (strcmp(mime, "text/plain") == 0 || others > NAMES_SHOWN)
			continue;
		put(paper, others++ ? ", " : " [");
		put_mime(paper, mime, data);
	}
	put(paper, others ? "]\n" : "\n");
}

/* The value of the last expression has a line of its own: it is told of here where there
 * is more to it than its text. */
static void put_displays(struct paper *paper, const json_t *result)
{
	const json_t *displays = json_object_get(result, "displays");
	const json_t *index = json_object_get(result, "result_display"), *bundle;
	size_t count = json_array_size(displays), skip = count, i, shown = 0;

	if (json_is_integer(index) && json_integer_value(index) >= 0)
		skip = (size_t)json_integer_value(index);
	if (skip >= count || json_object_size(json_array_get(displays, skip)) != 1)
		skip = count;
	count -= skip < count;
	if (count == 0)
		return;
	putf(paper, "  %zu display%s: --json has %s\n", count, count == 1 ? "" : "s",
	     count == 1 ? "it" : "them");
	for (i = 0; shown < count && shown < DISPLAYS_SHOWN; i++) {
		bundle = json_array_get(displays, i);
		if (i == skip)
			continue;
		shown++;
		if (json_object_size(bundle) > 0)
			put_display(paper, bundle);
	}
	if (count > shown)
		putf(paper, "    and %zu more\n", count - shown);
}

/* ---- the rest ---- */

static void put_truncated(struct paper *paper, const json_t *truncated,
			  const char *stream)
{
	double dropped = number_at(truncated, stream);

	if (dropped < 1)
		return;
	putf(paper, "  %s: the result keeps its head and tail, ", stream);
	put_bytes(paper, dropped);
	put(paper, " between them are dropped (max_output_bytes)\n");
}

/* A limit that nothing keeps is never passed over in silence. */
static void put_unenforced(struct paper *paper, const json_t *enforced)
{
	size_t named = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)enforced, key, value)
	{
		const char *by = json_string_value(value);

		_cleanup_free_ char *line = NULL;

		if (by && *by && strcmp(by, "none") != 0 && strcmp(by, "missing") != 0)
			continue;
		if (named++ == NAMES_SHOWN) {
			put(paper, ", ...");
			break;
		}
		line = summary_line(key, strlen(key), SUBJECT_COLUMNS);
		put(paper, named > 1 ? ", " : "  ");
		if (named == 1)
			put_coloured(paper, "31", "not enforced here: ");
		put(paper, line ? line : "?");
	}
	if (named > 0)
		put(paper, " (sandbox doctor says why)\n");
}

char *summary_make(const json_t *result, bool colour)
{
	struct paper paper = { .colour = colour };
	const json_t *repr = json_object_get(result, "result_repr");
	size_t files = json_array_size(json_object_get(result, "files"));

	put_verdict(&paper, result);
	put_events(&paper, json_object_get(result, "events"));
	put_truncated(&paper, json_object_get(result, "truncated"), "stdout");
	put_truncated(&paper, json_object_get(result, "truncated"), "stderr");
	put_displays(&paper, result);
	if (files > 0)
		putf(&paper, "  %zu file%s: --json names %s\n", files,
		     files == 1 ? "" : "s", files == 1 ? "it" : "them");
	put_unenforced(&paper, json_object_get(result, "enforced"));
	if (json_is_string(repr)) {
		put(&paper, "  result: ");
		put_string(&paper, repr, TEXT_COLUMNS);
		put(&paper, "\n");
	}
	if (paper.failed) {
		buf_free(&paper.text);
		return NULL;
	}
	return paper.text.data;
}
