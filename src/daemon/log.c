/* SPDX-License-Identifier: MIT
 * Purpose: the server's log lines (log.h). Process: the engine.
 * Invariants: a line is one write(2) of less than PIPE_BUF bytes, and never waits. */
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"

static enum log_level level_now = LOG_WARN;
static unsigned long lost;

void log_set_level(enum log_level level)
{
	level_now = level;
}

const char *log_value(const char *text)
{
	static char ring[4][136];
	static unsigned turn;
	char *ret = ring[turn++ % 4];
	size_t used = 0;

	ret[used++] = '"';
	for (; text && *text && used < 120; text++) {
		unsigned char c = (unsigned char)*text;

		/* Other bytes than ASCII could turn or hide what a terminal shows. */
		if (c == '"' || c == '\\')
			ret[used++] = '\\';
		ret[used++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
	}
	ret[used++] = '"';
	ret[used] = '\0';
	return ret;
}

void log_line(enum log_level level, const char *what, const char *fmt, ...)
{
	static const char *const names[] = { "off", "error", "warn", "info", "debug" };
	struct pollfd stderr_ = { .fd = 2, .events = POLLOUT };
	char line[1024], at[32] = "";
	struct timespec now;
	struct tm parts;
	size_t used;
	va_list args;
	int n;

	if (level > level_now || level == LOG_OFF)
		return;
	if (clock_gettime(CLOCK_REALTIME, &now) == 0 && gmtime_r(&now.tv_sec, &parts))
		(void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &parts);
	n = snprintf(line, sizeof(line), "at=%s.%03ldZ level=%s what=%s ", at,
		     now.tv_nsec / 1000000, names[level], what);
	used = n > 0 ? (size_t)n : 0;
	va_start(args, fmt);
	n = vsnprintf(line + used, sizeof(line) - used - 32, fmt, args);
	va_end(args);
	if (n > 0)
		used += (size_t)n < sizeof(line) - used - 32 ? (size_t)n
							     : sizeof(line) - used - 33;
	if (lost)
		used += (size_t)snprintf(line + used, 30, " lost_lines=%lu",
					 lost % 100000000);
	line[used++] = '\n';
	/* POLLOUT of a pipe promises room for PIPE_BUF bytes. */
	if (poll(&stderr_, 1, 0) == 1 && (stderr_.revents & POLLOUT) &&
	    write(2, line, used) == (ssize_t)used)
		lost = 0;
	else
		lost++;
}
