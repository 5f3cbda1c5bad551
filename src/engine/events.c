/* SPDX-License-Identifier: MIT
 * Purpose: the events of one run (events.h). Process: the engine. Trusts: nothing in a
 * claim but that it is bounded.
 * Invariants: `source` is set by the engine's own code only; the list is bounded in
 * number and in text. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/events.h"
#include "engine/outcome.h"
#include "policy/policy.h"

static json_t *text_or_null(const char *text)
{
	size_t len = text ? strnlen(text, EVENTS_TEXT_MAX) : 0;

	return text ? outcome_text(text, len) : json_null();
}

/* ---- remedies as changes of a policy ---- */

/* The directory that a denied path lies in; a directory is what a policy grants. */
static json_t *grant_of(const char *subject, bool writes)
{
	char item[EVENTS_TEXT_MAX + 8];
	struct policy_grant parsed;
	const char *slash = strrchr(subject, '/');

	if (subject[0] != '/' || slash == subject || strlen(subject) >= EVENTS_TEXT_MAX)
		return NULL;
	(void)snprintf(item, sizeof(item), "%.*s:%s", (int)(slash - subject), subject,
		       writes ? "rw" : "ro");
	return policy_grant_parse(item, &parsed, NULL) == 0 ? json_string(item) : NULL;
}

static bool is_module(const char *subject)
{
	const struct policy_field *field = policy_field_find("allowed_modules");

	return strcmp(subject, "*") != 0 &&
	       (!field || !field->check || field->check(subject, NULL) == 0);
}

json_t *events_change(const char *kind, const char *rule, const char *item)
{
	const struct policy_field *field = policy_field_find(rule);
	struct policy_host host;
	json_t *made = NULL;

	if (!field || field->ignored)
		return NULL;
	if (field->type == POLICY_BOOL)
		return json_pack("{s:s,s:b}", "field", rule, "set", 1);
	if (!item || !item[0])
		return NULL;
	if (strcmp(rule, "allowed_modules") == 0)
		made = is_module(item) ? json_string(item) : NULL;
	else if (strcmp(rule, "allowed_hosts") == 0)
		made = strcmp(item, "*") != 0 && policy_host_parse(item, &host, NULL) == 0
			       ? json_string(item)
			       : NULL;
	else if (strcmp(rule, "allowed_directories") == 0)
		made = grant_of(item, strcmp(kind, "write") == 0);
	return made ? json_pack("{s:s,s:o}", "field", rule, "add", made) : NULL;
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
	bool denial = strcmp(event->kind, "limit") != 0 &&
		      strcmp(event->kind, "connection") != 0,
	     claim = strcmp(event->source, "python") == 0,
	     kernel = strcmp(event->source, "kernel") == 0;
	size_t alike = 0;
	json_t *made, *old, *change;
	size_t i;

	if (denial)
		events->denials += count;
	if (kernel)
		events->last_kernel = NULL;
	if (!events->list && !(events->list = json_array()))
		return NULL;
	made = json_pack("{s:I,s:s,s:s,s:o,s:s,s:o,s:o,s:I}", "at_ms", (json_int_t)at_ms,
			 "source", event->source, "kind", event->kind, "subject",
			 text_or_null(event->subject), "rule", event->rule, "line",
			 event->line > 0 ? json_integer(event->line) : json_null(),
			 "remedy", text_or_null(event->remedy), "count",
			 (json_int_t)count);
	/* What a limit should be raised to is nobody's to say. */
	change = denial ? events_change(event->kind, event->rule,
					event->item ? event->item : event->subject)
			: NULL;
	(void)json_object_set_new(made, "change", change ? change : json_null());
	(void)json_object_set_new(made, "line_source",
				  event->line > 0 ? json_string("python") : json_null());
	if (event->has_traffic) {
		(void)json_object_set_new(made, "sent_bytes",
					  json_integer((json_int_t)event->sent_bytes));
		(void)json_object_set_new(
			made, "received_bytes",
			json_integer((json_int_t)event->received_bytes));
	}
	json_array_foreach(events->list, i, old)
	{
		if (strcmp(json_string_value(json_object_get(old, "source")),
			   event->source) == 0 &&
		    (claim || strcmp(json_string_value(json_object_get(old, "kind")),
				     event->kind) == 0))
			alike++;
		if (!same(old, made))
			continue;
		count += (uint64_t)json_integer_value(json_object_get(old, "count"));
		(void)json_object_set_new(old, "count", json_integer((json_int_t)count));
		json_decref(made);
		if (kernel)
			events->last_kernel = old;
		return NULL;
	}
	if (!made || json_array_size(events->list) >= EVENTS_MAX ||
	    alike >= (claim ? EVENTS_CLAIMS_MAX : EVENTS_KIND_MAX)) {
		events->dropped += count;
		json_decref(made);
		return NULL;
	}
	if (json_array_append_new(events->list, made) < 0)
		return NULL;
	if (kernel)
		events->last_kernel = made;
	return made;
}

void events_claim_line(struct events *events, long line)
{
	json_t *event = events->last_kernel;

	if (!event || line <= 0 || !json_is_null(json_object_get(event, "line")))
		return;
	(void)json_object_set_new(event, "line", json_integer(line));
	(void)json_object_set_new(event, "line_source", json_string("python"));
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
	if (json_integer_value(json_object_get(claim, "count")) > 0)
		event.count = (uint64_t)json_integer_value(
			json_object_get(claim, "count"));
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
			json_pack("{s:i,s:s,s:s,s:s,s:s,s:n,s:n,s:n,s:n,s:I}", "at_ms", 0,
				  "source", more.source, "kind", more.kind, "subject",
				  more.subject, "rule", more.rule, "line", "line_source",
				  "remedy", "change", "count", (json_int_t)more.count));
	return list;
}

void events_free(struct events *events)
{
	json_decref(events->list);
	events->list = NULL;
	events->last_kernel = NULL;
}
