/* SPDX-License-Identifier: MIT
 * Lines for whoever runs the server, on stderr, as logfmt: `level=info at=... what=request
 * key=value ...`. Engine; one thread. Never a secret, a header or a body. */
#ifndef SBX_DAEMON_LOG_H
#define SBX_DAEMON_LOG_H

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
/* what: a word. fmt makes the rest, "key=value key=value": values from outside by
 * log_value(). A reader that does not read loses lines, and is told how many. */
void log_line(enum log_level level, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Quoted where need be, at most about 120 bytes, without control characters. Four texts at
 * a time. */
const char *log_value(const char *text);

#endif
