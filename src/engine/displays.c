/* SPDX-License-Identifier: MIT
 * Purpose: takes what a program shows (displays.h).
 * Process: the engine. Trusts: nothing: a program can write these frames itself.
 * Invariants: at most DISPLAYS_MAX bundles and DISPLAYS_BYTES_MAX of one run are kept; a
 *   bundle has "text/plain"; every key looks like a MIME type; what is binary is base64;
 *   nothing is parsed that would cost more than TOKENS_MAX parts a run. */
#include "engine/displays.h"

#include <string.h>

#include "engine/outcome.h"
#include "zygote/messages.h"

#define TOKENS_MAX 1000000u /* jansson needs about 50 bytes for a number in a list */
#define MIMES_MAX 32u
#define MIME_LEN_MAX 127u

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
	size_t len = strlen(text), tail = strlen(with);

	return len >= tail && strcmp(text + len - tail, with) == 0;
}

/* type/subtype of RFC 6838's characters, in lower or upper case. */
static bool is_mime(const char *key)
{
	static const char more[] = "!#$&-^_.+";
	size_t len = strlen(key), slashes = 0;

	if (len > MIME_LEN_MAX || !strchr(alphabet, key[0]) || ends(key, "/"))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (key[i] == '/') {
			slashes++;
			continue;
		}
		if (!strchr(alphabet, key[i]) && !strchr(more, key[i]))
			return false;
	}
	return len > 0 && slashes == 1;
}

static bool is_binary(const char *mime)
{
	return (starts(mime, "image/") && strcmp(mime, "image/svg+xml") != 0) ||
	       starts(mime, "audio/") || starts(mime, "video/") ||
	       strcmp(mime, "application/pdf") == 0;
}

static bool is_base64(const json_t *value)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value), body;

	if (!text || strlen(text) != len || len % 4 != 0)
		return false;
	for (body = 0; body < len; body++)
		if (!strchr(alphabet, text[body]) && text[body] != '+' &&
		    text[body] != '/')
			break;
	return len - body <= 2 && strspn(text + body, "=") == len - body;
}

static bool is_right(const char *mime, const json_t *value)
{
	if (!is_mime(mime))
		return false;
	if (ends(mime, "/json") || ends(mime, "+json"))
		return true;
	return is_binary(mime) ? is_base64(value) : json_is_string(value);
}

/* Takes out what is not right. */
static void sift(json_t *bundle)
{
	size_t count = 0;
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(bundle, next, key, value)
	{
		if (++count > MIMES_MAX || !is_right(key, value))
			(void)json_object_del(bundle, key);
	}
}

const json_t *displays_add(struct displays *displays, const char *data, size_t len)
{
	size_t tokens = 0;
	json_t *bundle;

	if (json_array_size(displays->list) >= DISPLAYS_MAX || len > DISPLAY_MAX ||
	    len > DISPLAYS_BYTES_MAX - displays->bytes ||
	    !outcome_affordable(data, len, TOKENS_MAX - displays->tokens, &tokens))
		return NULL;
	if (!displays->list)
		displays->list = json_array();
	bundle = displays->list ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL)
				: NULL;
	if (!json_is_object(bundle)) {
		json_decref(bundle);
		return NULL;
	}
	displays->bytes += len;
	displays->tokens += tokens;
	sift(bundle);
	if ((!json_object_get(bundle, "text/plain") &&
	     (json_object_size(bundle) == 0 ||
	      json_object_set_new(bundle, "text/plain", json_string("")) < 0)) ||
	    json_array_append(displays->list, bundle) < 0) {
		json_decref(bundle);
		return NULL;
	}
	json_decref(bundle); /* the list has one */
	return bundle;
}

json_t *displays_list(const struct displays *displays)
{
	return displays && displays->list ? json_incref(displays->list) : json_array();
}

json_t *displays_claim(const struct displays *displays, const json_t *done)
{
	const json_t *index = json_object_get(done, "result_display");
	json_int_t i = displays && json_is_integer(index) ? json_integer_value(index)
							  : -1;

	if (i < 0 || (size_t)i >= json_array_size(displays->list))
		return json_null();
	return json_integer(i);
}

void displays_free(struct displays *displays)
{
	json_decref(displays->list);
	*displays = (struct displays){ 0 };
}
