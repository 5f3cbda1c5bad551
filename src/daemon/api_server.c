/* SPDX-License-Identifier: MIT
 * Purpose: what the server says of itself: health, metrics, policy, doctor, its own
 *   description, the page.
 * Process: the engine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/api.h"
#include "daemon/asset.h"
#include "daemon/http_internal.h"
#include "daemon/openapi.h"

static int get_health(struct exchange *ex, struct sbx_err *err)
{
	bool stopping = ex->http->stopping, ask_live = exchange_query(ex, "live") != NULL;
	json_t *health = ex->known ? engine_health(ex->http->engine) : json_object();

	(void)err;
	(void)json_object_set_new(health, "status",
				  json_string(stopping ? "stopping" : "ok"));
	(void)json_object_set_new(health, "live", json_true());
	(void)json_object_set_new(health, "ready", json_boolean(!stopping));
	if (stopping && !ask_live)
		exchange_header(ex, "Retry-After", "1");
	exchange_json(ex,
		      stopping && !ask_live ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK,
		      health);
	return 0;
}

/* Numbers among an object's members, as PREFIX_NAME. */
static void add_gauges(json_t *gauges, const char *prefix, const json_t *object)
{
	const char *name;
	json_t *value;
	char full[96];

	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		(void)snprintf(full, sizeof(full), "%s_%s", prefix, name);
		if (json_is_number(value))
			(void)json_object_set(gauges, full, value);
	}
}

static json_t *gauges_of(const struct exchange *ex, const json_t *health)
{
	const struct http *http = ex->http;
	struct journal *journal = api_journal(ex);
	json_t *gauges, *journal_state = journal ? journal_health(journal) : NULL;
	size_t connections = 0;

	for (const struct connection *c = http->connections; c; c = c->next)
		connections++;
	gauges = json_pack("{s:I,s:I,s:I,s:i,s:I}", "executions_running",
			   (json_int_t)runs_live(http->runs), "http_connections",
			   (json_int_t)connections, "http_body_bytes",
			   (json_int_t)http->body_bytes, "stopping", (int)http->stopping,
			   "sessions",
			   json_integer_value(json_object_get(health, "sessions")));
	add_gauges(gauges, "admission", json_object_get(health, "admission"));
	add_gauges(gauges, "journal", journal_state);
	json_decref(journal_state);
	return gauges;
}

static int get_metrics(struct exchange *ex, struct sbx_err *err)
{
	struct http *http = ex->http;
	json_t *health = engine_health(http->engine), *gauges = gauges_of(ex, health);
	_cleanup_buf_ struct buf text = { 0 };
	int r = metrics_text(&http->metrics, health, gauges, &text);

	json_decref(health);
	json_decref(gauges);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "metrics");
	exchange_text(ex, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		      text.data, text.len);
	text = (struct buf){ 0 };
	return 0;
}

static int get_openapi(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, MHD_HTTP_OK,
		      openapi_document(ex->connection->listener->tables));
	return 0;
}

/* ---- policy ---- */

static json_t *field_row(const struct policy_field *field, const json_t *defaults,
			 const json_t *ceilings)
{
	static const char *const types[] = {
		[POLICY_INT] = "integer",   [POLICY_NUMBER] = "number",
		[POLICY_BOOL] = "boolean",  [POLICY_STRING] = "string",
		[POLICY_LIST] = "list",     [POLICY_MAP] = "map",
		[POLICY_CHOICE] = "choice",
	};
	json_t *row = json_pack(
		"{s:s,s:s,s:s,s:{s:s,s:s},s:b,s:O*,s:O*}", "name", field->name, "type",
		types[field->type], "unit", field->unit, "meaning", "en", field->meaning,
		"zh", field->meaning_zh, "ignored", field->ignored, "default",
		json_object_get(defaults, field->name), "ceiling",
		field->permissive ? json_object_get(ceilings, field->name) : NULL);

	if (row && field->choices) {
		json_t *choices = json_array();

		for (size_t i = 0; field->choices[i]; i++)
			(void)json_array_append_new(choices,
						    json_string(field->choices[i]));
		(void)json_object_set_new(row, "choices", choices);
	} else if (row && field->type != POLICY_BOOL) {
		(void)json_object_set_new(row, "min", json_real(field->min));
		(void)json_object_set_new(row, "max", json_real(field->max));
		(void)json_object_set_new(row, "zero_is_none",
					  json_boolean(field->zero_is_none));
	}
	return row;
}

static json_t *preset_rows(void)
{
	json_t *rows = json_array();
	const char *name;

	for (size_t i = 0; (name = policy_preset_name(i)) != NULL; i++) {
		struct sbx_policy policy;

		policy_init(&policy);
		if (policy_preset(&policy, name, NULL) == 0)
			(void)json_array_append_new(
				rows, json_pack("{s:s,s:{s:s,s:s},s:o}", "name", name,
						"meaning", "en", policy_preset_meaning(i),
						"zh", policy_preset_meaning_zh(i),
						"policy", policy_to_json(&policy)));
		policy_clear(&policy);
	}
	return rows;
}

static json_t *template_rows(const struct auth *auth)
{
	size_t count;
	const struct http_template *templates = auth_templates(auth, &count);
	json_t *rows = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *preload = json_array();

		for (size_t j = 0; j < templates[i].preload.count; j++)
			(void)json_array_append_new(
				preload, json_string(templates[i].preload.items[j]));
		(void)json_array_append_new(rows, json_pack("{s:s,s:s,s:o}", "name",
							    templates[i].name, "python",
							    templates[i].python,
							    "preload", preload));
	}
	return rows;
}

/* The narrower of the server's and the token's. */
static json_t *ceilings_of(const struct exchange *ex)
{
	const struct sbx_policy *token = ex->caller.ceilings,
				*server = auth_ceilings(ex->auth);

	if (!token && !server)
		return NULL;
	if (!token || !server)
		return policy_to_json(token ? token : server);
	return policy_to_json(policy_within(token, server, NULL) == 0 ? token : server);
}

static int get_policy(struct exchange *ex, struct sbx_err *err)
{
	const struct sbx_policy *configured = auth_defaults(ex->auth);
	json_t *fields = json_array(), *ceilings = ceilings_of(ex), *defaults;
	struct sbx_policy policy;

	(void)err;
	policy_init(&policy);
	defaults = policy_to_json(configured ? configured : &policy);
	policy_clear(&policy);
	for (size_t i = 0; i < policy_field_count; i++)
		(void)json_array_append_new(
			fields, field_row(&policy_fields[i], defaults, ceilings));
	json_decref(defaults);
	json_decref(ceilings);
	exchange_json(ex, MHD_HTTP_OK,
		      json_pack("{s:o,s:o,s:o}", "fields", fields, "presets",
				preset_rows(), "templates", template_rows(ex->auth)));
	return 0;
}

static int get_doctor(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, MHD_HTTP_OK, engine_doctor(ex->http->engine));
	return 0;
}

static int get_journal_head(struct exchange *ex, struct sbx_err *err)
{
	if (api_journal(ex))
		return api_journal_head(ex, err);
	exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotRecorded", NULL,
			    "this server keeps no journal");
	return 0;
}

/* ---- the page ---- */

static int get_asset(struct exchange *ex, struct sbx_err *err)
{
	const char *name = exchange_param(ex, "path");
	const struct asset *asset;
	char path[256];

	(void)err;
	(void)snprintf(path, sizeof(path), "%s%s", name ? "/assets/" : "/",
		       name ? name : "");
	asset = asset_find(path);
	if (asset)
		exchange_asset(ex, asset);
	else
		exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
				    "there is nothing at this path");
	return 0;
}

static const struct route_query health_query[] = {
	{ "live", "string", "Whether it lives at all: 200 also while it is stopping." },
	{ "ready", "string", "Whether it takes work: 503 while it is stopping." },
	{ NULL, NULL, NULL },
};
static const struct route_answer health_answers[] = {
	{ 200, NULL, "Health", "It takes work." },
	{ 503, NULL, "Health", "It is stopping." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer metrics_answers[] = {
	{ 200, "text/plain", NULL, "Prometheus text format 0.0.4." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer object_answers[] = {
	{ 200, NULL, "Object", "The document." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer policy_answers[] = {
	{ 200, NULL, "PolicyTable", "Fields, presets and templates." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer doctor_answers[] = {
	{ 200, NULL, "Doctor", "Each wall, and how to get it where it is missing." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer page_answers[] = {
	{ 200, "text/html", NULL, "The page." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer asset_answers[] = {
	{ 200, "*/*", NULL, "A file of the page." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "GET",
	  .pattern = "/v1/health",
	  .handle = get_health,
	  .may = ROUTE_OPEN,
	  .id = "health",
	  .summary = "Whether the server lives and takes work",
	  .description = "With a token also its templates and pools.",
	  .query = health_query,
	  .answers = health_answers },
	{ .method = "GET",
	  .pattern = "/v1/policy",
	  .handle = get_policy,
	  .id = "policy",
	  .summary = "The fields of a policy, presets, templates, this caller's ceilings",
	  .answers = policy_answers },
	{ .method = "GET",
	  .pattern = "/v1/doctor",
	  .handle = get_doctor,
	  .id = "doctor",
	  .summary = "Which walls and limits stand on this machine",
	  .answers = doctor_answers },
	{ .method = "GET",
	  .pattern = "/v1/journal/head",
	  .handle = get_journal_head,
	  .id = "journalHead",
	  .summary = "Counts and last links of the journal's chains",
	  .answers = object_answers },
	{ .method = "GET",
	  .pattern = "/metrics",
	  .handle = get_metrics,
	  .id = "metrics",
	  .summary = "Figures for Prometheus",
	  .answers = metrics_answers },
	{ .method = "GET",
	  .pattern = "/openapi.json",
	  .handle = get_openapi,
	  .may = ROUTE_OPEN,
	  .id = "openapi",
	  .summary = "This description",
	  .answers = object_answers },
	{ .method = "GET",
	  .pattern = "/",
	  .handle = get_asset,
	  .may = ROUTE_OPEN,
	  .id = "page",
	  .summary = "The page",
	  .answers = page_answers },
	{ .method = "GET",
	  .pattern = "/assets/{path...}",
	  .handle = get_asset,
	  .may = ROUTE_OPEN,
	  .id = "asset",
	  .summary = "A file of the page",
	  .answers = asset_answers },
};

const struct route_table api_server = { .name = "server",
					.routes = routes,
					.count = sizeof(routes) / sizeof(routes[0]) };
