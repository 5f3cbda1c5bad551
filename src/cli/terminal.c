/* SPDX-License-Identifier: MIT
 * Purpose: what a program wrote, made fit for a terminal (terminal.h).
 * Process: the command's. Trusts: nothing of the text.
 * Invariants: no byte of a text is written that utf8_next() and utf8_is_unsafe() have not
 *   judged; a line of a text never begins where ours do. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/terminal.h"
#include "lib/internal.h"

#define COLUMNS_MIN 20
#define COLUMNS_MAX 10000
#define COMBINING_MAX 4 /* marks on one letter; more of them climb into other lines */
#define TAB_STOP 8

/* ---- widths ---- */

size_t terminal_columns(int fd)
{
	const char *given = getenv("COLUMNS");
	struct winsize size = { 0 };
	unsigned long columns = given ? strtoul(given, NULL, 10) : 0;

	if (!isatty(fd))
		return TERMINAL_UNBOUNDED;
	if (columns == 0 && ioctl(fd, TIOCGWINSZ, &size) == 0)
		columns = size.ws_col;
	if (columns == 0)
		columns = 80;
	return columns < COLUMNS_MIN   ? COLUMNS_MIN
	       : columns > COLUMNS_MAX ? COLUMNS_MAX
				       : columns;
}

size_t terminal_width(uint32_t character)
{
	/* The tables of libc, whatever the user's own locale is; it lives as long as the
	 * process. */
	static locale_t utf8;
	locale_t before;
	int width;

	if (character < 0x80)
		return 1;
	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (!utf8)
		return 2;
	before = uselocale(utf8);
	width = wcwidth((wchar_t)character);
	(void)uselocale(before);
	return width < 0 || width > 2 ? 2 : (size_t)width;
}

/* ---- one character ---- */

struct glyph {
	char text[16];
	size_t len;   /* of text */
	size_t width; /* columns */
	size_t taken; /* bytes of the source */
};

/* The next character as it is shown. marks counts those in a row that take no column. */
static struct glyph next_glyph(const char *text, size_t len, unsigned *marks)
{
	struct glyph glyph = { 0 };
	uint32_t c = 0;
	size_t width;

	glyph.taken = utf8_next(text, len, &c);
	if (glyph.taken == 0) {
		glyph.taken = 1;
		glyph.len = (size_t)snprintf(glyph.text, sizeof(glyph.text), "\\x%02x",
					     (unsigned char)*text);
		glyph.width = glyph.len;
		*marks = 0;
		return glyph;
	}
	width = utf8_is_unsafe(c) ? 2 : terminal_width(c);
	*marks = width == 0 ? *marks + 1 : 0;
	if (!utf8_is_unsafe(c) && *marks <= COMBINING_MAX) {
		memcpy(glyph.text, text, glyph.taken);
		glyph.len = glyph.taken;
		glyph.width = width;
		return glyph;
	}
	glyph.len = (size_t)snprintf(glyph.text, sizeof(glyph.text),
				     c == '\n'   ? "\\n"
				     : c == '\t' ? "\\t"
				     : c < 0x100 ? "\\x%02x"
						 : "\\u{%x}",
				     (unsigned)c);
	glyph.width = glyph.len;
	return glyph;
}

/* ---- lines ---- */

static int fit(struct buf *out, const char *text, size_t len, size_t columns,
	       size_t *ret_width)
{
	size_t at = 0, width = 0, kept_len = 0, kept_width = 0;
	size_t start = out->len, room = columns > 3 ? columns - 3 : 0;
	unsigned marks = 0;
	int r = buf_add(out, "", 0);

	while (r == 0 && at < len) {
		struct glyph glyph = next_glyph(text + at, len - at, &marks);

		if (columns && width + glyph.width > columns) {
			/* Back to where the dots fit, too. */
			out->len = start + kept_len;
			r = buf_add(out, "...", columns < 3 ? columns : 3);
			width = kept_width + (columns < 3 ? columns : 3);
			break;
		}
		r = buf_add(out, glyph.text, glyph.len);
		at += glyph.taken;
		width += glyph.width;
		if (width <= room) {
			kept_len = out->len - start;
			kept_width = width;
		}
	}
	if (ret_width)
		*ret_width = width;
	return r;
}

int terminal_fit(struct buf *out, const char *text, size_t len, size_t columns,
		 size_t *ret_width)
{
	return fit(out, text, len, columns, ret_width);
}

int terminal_cell(struct buf *out, const char *text, size_t len, size_t columns)
{
	size_t width = 0;
	int r = fit(out, text, len, columns, &width);

	for (; r == 0 && width < columns; width++)
		r = buf_add(out, " ", 1);
	return r;
}

/* Tabs and the carriage return of a line's end are what they look like. */
static int add_line(struct buf *out, const char *line, size_t len, const char *margin,
		    size_t columns)
{
	struct buf plain = { 0 };
	size_t column = 0;
	int r = buf_add(&plain, "", 0);

	if (len > 0 && line[len - 1] == '\r')
		len--;
	for (size_t i = 0; r == 0 && i < len; i++) {
		if (line[i] != '\t') {
			r = buf_add(&plain, line + i, 1);
			column += ((unsigned char)line[i] & 0xc0) != 0x80;
			continue;
		}
		do
			r = buf_add(&plain, " ", 1);
		while (r == 0 && ++column % TAB_STOP != 0);
	}
	if (r == 0)
		r = buf_add(out, margin, strlen(margin));
	if (r == 0)
		r = fit(out, plain.data, plain.len, columns, NULL);
	if (r == 0)
		r = buf_add(out, "\n", 1);
	buf_free(&plain);
	return r;
}

static size_t count_lines(const char *text, size_t len)
{
	size_t count = len > 0 && text[len - 1] != '\n';

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\n';
	return count;
}

int terminal_lines(struct buf *out, const char *text, size_t len, const char *margin,
		   size_t columns, size_t lines)
{
	size_t count = count_lines(text, len), number = 0, at = 0;
	size_t head = lines - lines / 2, tail = lines / 2;
	int r = buf_add(out, "", 0);

	while (r == 0 && at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line = end ? (size_t)(end - text) - at : len - at;

		if (count <= lines || number < head || number >= count - tail)
			r = add_line(out, text + at, line, margin, columns);
		else if (number == head)
			r = buf_addf(out, "%s... %zu lines ...\n", margin, count - lines);
		number++;
		at += line + 1;
	}
	return r;
}

/* ---- JSON and CSV ---- */

int terminal_json(struct buf *out, const char *json, size_t len)
{
	int r = buf_add(out, "", 0);
	size_t at = 0;

	while (r == 0 && at < len) {
		uint32_t c = 0;
		size_t n = utf8_next(json + at, len - at, &c);

		/* Outside of strings the only controls are spaces, inside there are
		 * none. */
		if (n == 0)
			r = buf_add(out, "\\ufffd", 6);
		else if (c < 0x20 || !utf8_is_unsafe(c))
			r = buf_add(out, json + at, n);
		else if (c < 0x10000)
			r = buf_addf(out, "\\u%04x", (unsigned)c);
		else
			r = buf_addf(out, "\\u%04x\\u%04x",
				     (unsigned)(0xd7c0 + (c >> 10)),
				     (unsigned)(0xdc00 + (c & 0x3ff)));
		at += n ? n : 1;
	}
	return r;
}

int terminal_csv(struct buf *out, const char *text, size_t len)
{
	size_t blank = 0;
	unsigned marks = 0;
	int r = buf_add(out, "\"", 1);

	/* Spreadsheets skip blanks in front, and take a full-width sign for a sign. */
	while (blank < len && strchr(" \t\r\n", text[blank]) && text[blank])
		blank++;
	if (r == 0 && blank < len &&
	    ((text[blank] && strchr("=+-@", text[blank])) ||
	     (len - blank >= 3 && (memcmp(text + blank, "\uff1d", 3) == 0 ||
				   memcmp(text + blank, "\uff0b", 3) == 0 ||
				   memcmp(text + blank, "\uff0d", 3) == 0 ||
				   memcmp(text + blank, "\uff20", 3) == 0))))
		r = buf_add(out, "'", 1);
	for (size_t at = 0; r == 0 && at < len;) {
		struct glyph glyph = next_glyph(text + at, len - at, &marks);

		r = text[at] == '"' ? buf_add(out, "\"\"", 2)
				    : buf_add(out, glyph.text, glyph.len);
		at += glyph.taken;
	}
	return r < 0 ? r : buf_add(out, "\"", 1);
}

/* ---- a chart ---- */

int terminal_chart(struct buf *out, const double *values, size_t count, size_t columns,
		   double top)
{
	static const char *const bars[] = { "\u2581", "\u2582", "\u2583", "\u2584",
					    "\u2585", "\u2586", "\u2587", "\u2588" };
	double largest = top;
	int r = buf_add(out, "", 0);

	for (size_t i = 0; top <= 0 && i < count; i++)
		if (values[i] > largest)
			largest = values[i];
	if (columns > count)
		columns = count;
	for (size_t column = 0; r == 0 && column < columns; column++) {
		size_t from = column * count / columns,
		       to = (column + 1) * count / columns;
		double most = 0;
		int level;

		for (size_t i = from; i < to; i++)
			if (values[i] > most)
				most = values[i];
		level = largest > 0 ? (int)(most / largest * 7.999) : 0;
		level = level < 0 ? 0 : level > 7 ? 7 : level;
		r = buf_add(out, bars[level], 3);
	}
	return r;
}
