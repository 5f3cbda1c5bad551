/* SPDX-License-Identifier: MIT
 * Purpose: the events of one run (events.h). Process: the engine. Trusts: nothing in a
 * claim but that it is bounded.
 * Invariants: `source` is set by the engine's own code only; the list is bounded in
 * number and in text. */
#include <string.h>

#include "engine/events.h"
#include "engine/outcome.h"

static json_t *text_or_null(const char *text)
{
	size_t len = text ? strnlen(text, EVENTS_TEXT_MAX) : 0;

	return text ? outcome_text(text, len) : json_null();
}

static bool same(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "source", "kind", "subject", "rule", "line" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
			return false;
	return true;
}

const json_t *events_add(struct events *events, uint64_t at_ms, const struct event *event)
{
	uint64_t count = event->count ? event->count : 1;
	json_t *made, *old;
	size_t i;

	if (strcmp(event->kind, "limit") != 0 && strcmp(event->kind, "connection") != 0)
		events->denials += count;
	if (!events->list && !(events->list = json_array()))
		return NULL;
	made = json_pack("{s:I,s:s,s:s,s:o,s:s,s:o,s:o,s:I}", "at_ms", (json_int_t)at_ms,
			 "source", event->source, "kind", event->kind, "subject",
			 text_or_null(event->subject), "rule", event->rule, "line",
			 event->line > 0 ? json_integer(event->line) : json_null(),
			 "remedy", text_or_null(event->remedy), "count",
			 (json_int_t)count);
	if (event->has_traffic) {
		(void)json_object_set_new(made, "sent_bytes",
					  json_integer((json_int_t)event->sent_bytes));
		(void)json_object_set_new(
			made, "received_bytes",
			json_integer((json_int_t)event->received_bytes));
	}
	json_array_foreach(events->list, i, old)
	{
		if (!same(old, made))
			continue;
		count += (uint64_t)json_integer_value(json_object_get(old, "count"));
		(void)json_object_set_new(old, "count", json_integer((json_int_t)count));
		json_decref(made);
		return NULL;
	}
	if (!made || json_array_size(events->list) >= EVENTS_MAX) {
		events->dropped += count;
		json_decref(made);
		return NULL;
	}
	return json_array_append_new(events->list, made) == 0 ? made : NULL;
}

/* A word that an event of ours could have: the record's readers group by it. */
static bool is_word(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_");

	return n > 0 && n < 40 && text[n] == '\0';
}

const json_t *events_add_claim(struct events *events, uint64_t at_ms, const char *text,
			       size_t len)
{
	json_t *claim = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	struct event event = { .source = "python" };
	const json_t *added = NULL;

	event.kind = json_string_value(json_object_get(claim, "kind"));
	event.subject = json_string_value(json_object_get(claim, "subject"));
	event.rule = json_string_value(json_object_get(claim, "rule"));
	event.remedy = json_string_value(json_object_get(claim, "remedy"));
	event.line = (long)json_integer_value(json_object_get(claim, "line"));
	event.count = (uint64_t)json_integer_value(json_object_get(claim, "count"));
	if (event.count > 1u << 30)
		event.count = 1u << 30;
	if (event.kind && event.rule && is_word(event.kind) && is_word(event.rule) &&
	    strcmp(event.kind, "limit") != 0 && strcmp(event.kind, "connection") != 0)
		added = events_add(events, at_ms, &event);
	json_decref(claim);
	return added;
}

json_t *events_list(struct events *events)
{
	struct event more = { .source = "supervisor",
			      .kind = "more",
			      .rule = "always",
			      .count = events->dropped,
			      .subject = "further events that were counted only" };
	json_t *list = events->list ? json_deep_copy(events->list) : json_array();

	if (list && events->dropped)
		(void)json_array_append_new(
			list,
			json_pack("{s:i,s:s,s:s,s:s,s:s,s:n,s:n,s:I}", "at_ms", 0,
				  "source", more.source, "kind", more.kind, "subject",
				  more.subject, "rule", more.rule, "line", "remedy",
				  "count", (json_int_t)more.count));
	return list;
}

void events_free(struct events *events)
{
	json_decref(events->list);
	events->list = NULL;
}
