/* SPDX-License-Identifier: MIT
 * Purpose: filling struct sbx_err, the table of stages and the names of verdicts (err.h,
 * sbx.h).
 * Process: any, any thread; also linked into the static jailer.
 * Trusts: nothing: a format's arguments may be a program's text, a struct may come from a
 * hostile process.
 * Invariants: a filled struct is zero behind its strings, which are NUL-terminated
 *   printable UTF-8 without control, line-separating or bidirectional characters, so that
 *   it can go into a log or a terminal. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

#define STAGE_LAST SBX_AT_JOURNAL
#define ERRNO_LAST 4095 /* the kernel's own largest */

static const struct err_kind kinds[STAGE_LAST + 1] = {
	[SBX_AT_USAGE] = { "UsageError", 2, 400 },
	[SBX_AT_POLICY] = { "PolicyError", 2, 400 },
	[SBX_AT_CEILING] = { "CeilingExceeded", 2, 403 },
	[SBX_AT_GRANT] = { "GrantRefused", 2, 400 },
	[SBX_AT_INTERPRETER] = { "InterpreterError", 2, 400 },
	[SBX_AT_WALL] = { "WallMissing", 125, 503 },
	[SBX_AT_JAIL] = { "JailError", 125, 500 },
	[SBX_AT_ZYGOTE] = { "ZygoteError", 125, 500 },
	[SBX_AT_WORKER] = { "WorkerError", 125, 500 },
	[SBX_AT_ENGINE] = { "EngineError", 125, 500 },
	[SBX_AT_BUSY] = { "Busy", 125, 429 },
	[SBX_AT_JOURNAL] = { "JournalError", 125, 503 },
};

const struct err_kind *err_kind(int stage)
{
	if (stage < 0 || stage > STAGE_LAST || !kinds[stage].name)
		stage = SBX_AT_ENGINE;
	return &kinds[stage];
}

static const struct {
	const char *name;
	int exit_code;
} statuses[] = {
	[SBX_OK] = { "ok", 0 },           [SBX_ERROR] = { "error", 1 },
	[SBX_TIMEOUT] = { "timeout", 3 }, [SBX_MEMORY] = { "memory", 3 },
	[SBX_CPU] = { "cpu", 3 },         [SBX_PROCESSES] = { "processes", 3 },
	[SBX_OUTPUT] = { "output", 3 },   [SBX_DISK] = { "disk", 3 },
	[SBX_DENIED] = { "denied", 4 },   [SBX_KILLED] = { "killed", 137 },
	[SBX_FAULT] = { "fault", 125 },
};

static size_t status_index(enum sbx_status status)
{
	return (unsigned)status <= SBX_FAULT ? (size_t)status : (size_t)SBX_FAULT;
}

const char *sbx_status_name(enum sbx_status status)
{
	return statuses[status_index(status)].name;
}

bool status_known(const char *name)
{
	static const char *const others[] = { "running", "lost", "refused" };

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (strcmp(name, statuses[i].name) == 0)
			return true;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(name, others[i]) == 0)
			return true;
	return false;
}

int sbx_status_exit_code(enum sbx_status status)
{
	return statuses[status_index(status)].exit_code;
}

/* Length of the well-formed sequence (RFC 3629) at the start of max bytes, 0 if there is
 * none. *ret_code is set with a length only; *ret_cut says that the bytes are a good
 * beginning that max cuts off. */
static size_t utf8_at(const unsigned char *s, size_t max, unsigned *ret_code,
		      bool *ret_cut)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned code;
	size_t len, i;

	*ret_cut = false;
	if (s[0] < 0x80) {
		*ret_code = s[0];
		return 1;
	}
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	code = s[0] & (0xffu >> (len + 1));
	for (i = 1; i < len; i++) {
		if (i >= max) {
			*ret_cut = true;
			return 0;
		}
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return len;
}

static bool printable(unsigned code)
{
	return code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && code != 0x061c &&
	       code != 0x200e && code != 0x200f && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2066 && code <= 0x2069) && code != 0xfeff &&
	       !(code >= 0xfff9 && code <= 0xfffb) && (code & 0xfffe) != 0xfffe &&
	       !(code >= 0xe0000 && code <= 0xe007f);
}

/* In place and never longer: what must not stay becomes '?', white space a space, a
 * sequence that the end of the array cut off goes, everything behind the text is zero. */
static void clean(char *text, size_t size)
{
	size_t len = strnlen(text, size - 1), i = 0, n;
	unsigned code;
	bool cut;

	while (i < len) {
		n = utf8_at((const unsigned char *)text + i, len - i, &code, &cut);
		if (n > 0 && printable(code)) {
			i += n;
		} else if (n > 0) {
			memset(text + i, code >= '\t' && code <= '\r' ? ' ' : '?', n);
			i += n;
		} else if (cut) {
			len = i;
		} else {
			text[i++] = '?';
		}
	}
	memset(text + len, 0, size - len);
}

void err_sanitize(struct sbx_err *err)
{
	if (err->stage < SBX_AT_NONE || err->stage > STAGE_LAST)
		err->stage = SBX_AT_ENGINE;
	if (err->errnum < 0 || err->errnum > ERRNO_LAST)
		err->errnum = 0;
	clean(err->field, sizeof(err->field));
	clean(err->msg, sizeof(err->msg));
}

static void append(char *text, size_t size, const char *more)
{
	size_t len = strnlen(text, size - 1), n = strnlen(more, size - 1 - len);

	memcpy(text + len, more, n);
	text[len + n] = '\0';
}

/* strerrordesc_np (glibc 2.32) is a look-up in a constant table: no locale, no lock,
 * unlike strerror_r. */
static int finish(struct sbx_err *err, enum sbx_stage stage, int errnum)
{
	const char *why = errnum > 0 ? strerrordesc_np(errnum) : NULL;
	int result = errnum > 0 && errnum <= ERRNO_LAST ? errnum : EINVAL;

	if (!err)
		return -result;
	err->stage = stage;
	err->errnum = errnum;
	if (why && stage != SBX_AT_USAGE && stage != SBX_AT_POLICY &&
	    stage != SBX_AT_CEILING) {
		append(err->msg, sizeof(err->msg), ": ");
		append(err->msg, sizeof(err->msg), why);
	}
	err_sanitize(err);
	return -result;
}

/* The text is made aside, since an argument may be the message that err holds now. */
static int set(struct sbx_err *err, enum sbx_stage stage, int errnum, const char *field,
	       const char *fmt, va_list args) __attribute__((format(printf, 5, 0)));
static int set(struct sbx_err *err, enum sbx_stage stage, int errnum, const char *field,
	       const char *fmt, va_list args)
{
	struct sbx_err made = { 0 };

	if (!err)
		return finish(NULL, stage, errnum);
	if (vsnprintf(made.msg, sizeof(made.msg), fmt, args) < 0)
		made.msg[0] = '\0';
	append(made.field, sizeof(made.field), field);
	*err = made;
	return finish(err, stage, errnum);
}

int err_set(struct sbx_err *err, enum sbx_stage stage, int errnum, const char *fmt, ...)
{
	va_list args;
	int r;

	va_start(args, fmt);
	r = set(err, stage, errnum, "", fmt, args);
	va_end(args);
	return r;
}

int err_set_field(struct sbx_err *err, enum sbx_stage stage, int errnum,
		  const char *field, const char *fmt, ...)
{
	va_list args;
	int r;

	va_start(args, fmt);
	r = set(err, stage, errnum, field, fmt, args);
	va_end(args);
	return r;
}

int err_set_plain(struct sbx_err *err, enum sbx_stage stage, int errnum, const char *msg)
{
	struct sbx_err made = { 0 };

	if (!err)
		return finish(NULL, stage, errnum);
	append(made.msg, sizeof(made.msg), msg);
	*err = made;
	return finish(err, stage, errnum);
}
