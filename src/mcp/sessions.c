/* SPDX-License-Identifier: MIT
 * Purpose: the tools for sessions and their files.
 * Process: the engine. Trusts: nothing of the client; a program may change or shorten a file
 *   while it is read.
 * Invariants: a caller sees its own sessions only, unless it sees everybody's. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "daemon/api.h"
#include "mcp/call.h"
#include "mcp/text.h"

#define READ_BYTES 65536

int tool_session_new(struct call *call, struct sbx_err *err)
{
	json_t *object = call_settings(call, err);
	struct session *session = NULL;
	struct sbx_policy policy;
	int r = object ? 0 : -EINVAL;

	policy_init(&policy);
	if (r == 0)
		r = policy_preset(&policy, CALL_PRESET, err);
	if (r == 0 && json_object_update(object, call->arguments) < 0)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	if (r == 0)
		r = api_session_of(call->ex, object, &policy, &session, err);
	policy_clear(&policy);
	json_decref(object);
	if (r == 0)
		call_object(call, session_describe(session));
	return r;
}

int tool_session_reset(struct call *call, struct sbx_err *err)
{
	struct session *session = call_session(call, err);
	int r = session ? api_session_restart(session, err) : -ENOENT;

	if (r == 0)
		call_object(call, session_describe(session));
	return r;
}

int tool_session_list(struct call *call, struct sbx_err *err)
{
	(void)err;
	call_object(call, json_pack("{s:o}", "sessions", api_session_list(call->ex)));
	return 0;
}

int tool_session_end(struct call *call, struct sbx_err *err)
{
	struct session *session = call_session(call, err);
	json_t *answer;

	if (!session)
		return -ENOENT;
	answer = json_pack("{s:s,s:s}", "id", session_id(session), "state", "ended");
	session_end(session, "it was ended by its owner");
	call_object(call, answer);
	return 0;
}

/* ---- files ---- */

static void on_answer(void *arg, json_t *answer, const struct sbx_err *err)
{
	size_t budget = 10000;

	if (err)
		call_refused(arg, err);
	else
		call_object(arg, text_bounded(answer, 4096, 1000, &budget));
}

int tool_files_list(struct call *call, struct sbx_err *err)
{
	struct session *session = call_session(call, err);

	return session ? session_file_list(session, on_answer, call, err) : -ENOENT;
}

static const char *image_type(const unsigned char *data, size_t len)
{
	if (len > 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
		return "image/png";
	if (len > 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
		return "image/jpeg";
	return NULL;
}

static json_t *base64_of(const unsigned char *data, size_t len)
{
	size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(room);
	json_t *string;

	if (!text)
		return NULL;
	(void)sodium_bin2base64(text, room, data, len, sodium_base64_VARIANT_ORIGINAL);
	string = json_string(text);
	free(text);
	return string;
}

static void answer_file(struct call *call, const unsigned char *data, size_t len,
			size_t size, long long offset)
{
	const char *image = offset == 0 && len == size ? image_type(data, len) : NULL;
	json_t *content = json_array(),
	       *structured = json_pack("{s:s,s:I,s:I}", "path", call_text(call, "path"),
				       "size", (json_int_t)size, "offset",
				       (json_int_t)offset);
	json_t *text = image ? NULL : json_stringn((const char *)data, len);

	if (image) {
		(void)json_array_append_new(
			content, json_pack("{s:s,s:o,s:s}", "type", "image", "data",
					   base64_of(data, len), "mimeType", image));
		(void)json_object_set_new(structured, "image", json_string(image));
	} else if (text) {
		json_t *clean = text_short((const char *)data, len, len + 1);

		(void)json_object_set(structured, "text", clean);
		(void)content_add(content, clean);
		json_decref(text);
	} else {
		text = base64_of(data, len);
		(void)json_object_set(structured, "base64", text);
		(void)content_add(content, text);
	}
	call_answer(call, content, structured, false);
}

static void on_file(void *arg, int fd, uint64_t size, const struct sbx_err *err)
{
	struct call *call = arg;
	long long offset = call_number(call, "offset", 0),
		  limit = call_number(call, "limit", READ_BYTES);
	struct sbx_err own = { 0 };
	unsigned char *data;
	ssize_t n;

	if (err) {
		call_refused(call, err);
		return;
	}
	/* An image is no use in part. */
	if (!json_object_get(call->arguments, "limit") && offset == 0 && size < 3u << 20)
		limit = (long long)size + 1;
	data = malloc((size_t)limit);
	n = data ? pread(fd, data, (size_t)limit, (off_t)offset) : -1;
	fd_close(&fd);
	if (n > READ_BYTES && !json_object_get(call->arguments, "limit") &&
	    !image_type(data, (size_t)n))
		n = READ_BYTES;
	if (n < 0) {
		(void)err_set(&own, SBX_AT_ENGINE, data ? errno : ENOMEM, "reading it");
		call_refused(call, &own);
	} else {
		answer_file(call, data, (size_t)n, (size_t)size, offset);
	}
	free(data);
}

int tool_files_read(struct call *call, struct sbx_err *err)
{
	struct session *session = call_session(call, err);

	return session ? session_file_get(session, call_text(call, "path"), on_file, call,
					  err)
		       : -ENOENT;
}

int tool_files_write(struct call *call, struct sbx_err *err)
{
	const json_t *text = json_object_get(call->arguments, "text"),
		     *coded = json_object_get(call->arguments, "base64");
	struct session *session = call_session(call, err);
	size_t len = json_string_length(coded), used = 0;
	unsigned char *data = NULL;
	int r = 0;

	if (!session)
		return -ENOENT;
	if (!text == !coded)
		return err_set(err, SBX_AT_USAGE, EINVAL,
			       "files_write needs one of \"text\" and \"base64\"");
	if (coded) {
		data = malloc(len + 1);
		if (!data ||
		    sodium_base642bin(data, len, json_string_value(coded), len, "\n",
				      &used, NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
			r = err_set(err, SBX_AT_USAGE, EINVAL,
				    "files_write: \"base64\" is not base64");
	}
	if (r == 0)
		r = session_file_put(session, call_text(call, "path"),
				     data ? (const void *)data : json_string_value(text),
				     data ? used : json_string_length(text), on_answer,
				     call, err);
	free(data);
	return r;
}
