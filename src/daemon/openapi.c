/* SPDX-License-Identifier: MIT
 * Purpose: /openapi.json from the tables (openapi.h).
 * Process: the engine. Trusts: the tables. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/openapi.h"
#include "daemon/route_match.h"
#include "policy/policy.h"

static json_t *reference(const char *name)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "#/components/schemas/%s", name);
	return json_pack("{s:s}", "$ref", text);
}

static json_t *response_reference(void)
{
	return json_pack("{s:s}", "$ref", "#/components/responses/Problem");
}

/* ---- the policy's schema ---- */

static void add_number(json_t *schema, const struct policy_field *field,
		       const char *least, const char *most)
{
	(void)json_object_set_new(schema, most, json_real(field->max));
	/* 0 is beside the range there: no bound in two pieces. */
	(void)json_object_set_new(schema, least,
				  json_real(field->zero_is_none ? 0 : field->min));
}

static void add_count(json_t *schema, const struct policy_field *field, const char *most)
{
	(void)json_object_set_new(schema, most, json_integer((json_int_t)field->max));
}

static json_t *field_schema(const struct policy_field *field)
{
	json_t *schema = json_pack("{s:s}", "description", field->meaning);
	json_t *choices;

	switch (field->type) {
	case POLICY_INT:
		(void)json_object_set_new(schema, "type", json_string("integer"));
		add_number(schema, field, "minimum", "maximum");
		break;
	case POLICY_NUMBER:
		(void)json_object_set_new(schema, "type", json_string("number"));
		add_number(schema, field, "minimum", "maximum");
		break;
	case POLICY_BOOL:
		(void)json_object_set_new(schema, "type", json_string("boolean"));
		break;
	case POLICY_STRING:
		(void)json_object_set_new(schema, "type", json_string("string"));
		add_count(schema, field, "maxLength");
		break;
	case POLICY_LIST:
		(void)json_object_set_new(schema, "type", json_string("array"));
		(void)json_object_set_new(schema, "items",
					  json_pack("{s:s}", "type", "string"));
		add_count(schema, field, "maxItems");
		break;
	case POLICY_MAP:
		(void)json_object_set_new(schema, "type", json_string("object"));
		(void)json_object_set_new(schema, "additionalProperties",
					  json_pack("{s:s}", "type", "string"));
		add_count(schema, field, "maxProperties");
		break;
	case POLICY_CHOICE:
		choices = json_array();
		for (size_t i = 0; field->choices[i]; i++)
			(void)json_array_append_new(choices,
						    json_string(field->choices[i]));
		(void)json_object_set_new(schema, "type", json_string("string"));
		(void)json_object_set_new(schema, "enum", choices);
		break;
	}
	if (field->unit[0])
		(void)json_object_set_new(schema, "x-unit", json_string(field->unit));
	if (field->ignored)
		(void)json_object_set_new(schema, "deprecated", json_true());
	return schema;
}

static json_t *policy_schema(void)
{
	json_t *properties = json_object(), *presets = json_array();
	const char *name;

	for (size_t i = 0; (name = policy_preset_name(i)) != NULL; i++)
		(void)json_array_append_new(presets, json_string(name));
	(void)json_object_set_new(
		properties, "preset",
		json_pack("{s:s,s:o}", "type", "string", "enum", presets));
	for (size_t i = 0; i < policy_field_count; i++)
		(void)json_object_set_new(properties, policy_fields[i].name,
					  field_schema(&policy_fields[i]));
	return json_pack("{s:s,s:s,s:o,s:b}", "type", "object", "description",
			 "Fields of the policy over its preset; docs/policy.md.",
			 "properties", properties, "additionalProperties", 0);
}

/* ---- operations ---- */

/* "/v1/files/{path...}" has no form of its own in OpenAPI: "{path}". */
static void plain_pattern(const char *pattern, char *ret, size_t size)
{
	size_t used = 0;

	for (const char *at = pattern; *at && used + 1 < size; at++)
		if (*at != '.' || strchr(pattern, '{') == NULL ||
		    at < strchr(pattern, '{') || strncmp(at, "...}", 4) != 0)
			ret[used++] = *at;
		else
			at += 2;
	ret[used] = '\0';
}

static json_t *parameters(const struct route *route)
{
	json_t *list = json_array();
	const struct route_query *q;

	for (const char *at = strchr(route->pattern, '{'); at; at = strchr(at + 1, '{')) {
		char name[32];
		bool rest = at[1 + strcspn(at + 1, ".}")] == '.';

		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(at + 1, ".}"),
			       at + 1);
		(void)json_array_append_new(
			list,
			json_pack("{s:s,s:s,s:b,s:s*,s:{s:s}}", "name", name, "in",
				  "path", "required", 1, "description",
				  rest ? "A relative path; its slashes are not escaped."
				       : NULL,
				  "schema", "type", "string"));
	}
	for (q = route->query; q && q->name; q++)
		(void)json_array_append_new(
			list, json_pack("{s:s,s:s,s:b,s:s,s:{s:s}}", "name", q->name,
					"in", "query", "required", 0, "description",
					q->meaning, "schema", "type", q->type));
	return list;
}

static json_t *media(const char *schema, bool text)
{
	if (schema)
		return json_pack("{s:o}", "schema", reference(schema));
	return text ? json_pack("{s:{s:s}}", "schema", "type", "string")
		    : json_object(); /* bytes have no schema in 3.1 */
}

static json_t *responses(const struct route *route)
{
	json_t *made = json_object(), *response, *content;
	const struct route_answer *a;
	char status[8];

	for (a = route->answers; a->status; a++) {
		const char *type = a->type ? a->type : "application/json";

		(void)snprintf(status, sizeof(status), "%d", a->status);
		response = json_object_get(made, status);
		if (!response) {
			response = json_pack("{s:s}", "description", a->meaning);
			(void)json_object_set_new(made, status, response);
		}
		if (a->status == 204)
			continue;
		content = json_object_get(response, "content");
		if (!content) {
			content = json_object();
			(void)json_object_set_new(response, "content", content);
		}
		(void)json_object_set_new(
			content, type, media(a->schema, strncmp(type, "text/", 5) == 0));
	}
	if (route->may != ROUTE_OPEN)
		(void)json_object_set_new(made, "401", response_reference());
	(void)json_object_set_new(made, "4XX", response_reference());
	(void)json_object_set_new(made, "5XX", response_reference());
	return made;
}

static json_t *operation(const struct route *route, const char *tag)
{
	json_t *made = json_pack("{s:s,s:s,s:s*,s:[s],s:o,s:o}", "operationId", route->id,
				 "summary", route->summary, "description",
				 route->description, "tags", tag, "parameters",
				 parameters(route), "responses", responses(route));

	if (made && route->body != BODY_NONE)
		(void)json_object_set_new(made, "requestBody",
					  json_pack("{s:b,s:{s:o}}", "required", 1,
						    "content",
						    route_body_type(route->body),
						    media(route->body_schema, false)));
	if (made && route->may == ROUTE_OPEN)
		(void)json_object_set_new(made, "security", json_array());
	return made;
}

static void add_route(json_t *paths, const struct route *route, const char *tag)
{
	char pattern[128], method[12] = "";
	json_t *item, *other;

	plain_pattern(route->pattern, pattern, sizeof(pattern));
	item = json_object_get(paths, pattern);
	if (!item) {
		item = json_object();
		(void)json_object_set_new(paths, pattern, item);
	}
	for (size_t i = 0; route->method[i] && i + 1 < sizeof(method); i++)
		method[i] = (char)tolower((unsigned char)route->method[i]);
	other = json_object_get(
		json_object_get(json_object_get(item, method), "requestBody"), "content");
	/* Another door's, told apart by its Content-Type. */
	if (other)
		(void)json_object_set_new(other, route_body_type(route->body),
					  media(route->body_schema, false));
	else
		(void)json_object_set_new(item, method, operation(route, tag));
}

static json_t *components(void)
{
	json_t *schemas = json_object();

	for (size_t i = 0; i < openapi_schema_count; i++)
		(void)json_object_set_new(schemas, openapi_schemas[i].name,
					  json_loads(openapi_schemas[i].text, 0, NULL));
	(void)json_object_set_new(schemas, "Policy", policy_schema());
	return json_pack(
		"{s:o,s:{s:{s:s,s:{s:{s:o}}}},s:{s:{s:s,s:s,s:s}}}", "schemas", schemas,
		"responses", "Problem", "description",
		"A problem document (RFC 9457); `field` is the setting at fault.",
		"content", "application/problem+json", "schema", reference("Problem"),
		"securitySchemes", "token", "type", "http", "scheme", "bearer",
		"description",
		"On TCP. A unix socket asks for none: its peer's uid says who it is.");
}

json_t *openapi_document(const struct route_table *const *tables)
{
	json_t *paths = json_object(), *tags = json_array();

	for (; *tables; tables++) {
		if ((*tables)->loose) /* another's interface, which others document */
			continue;
		(void)json_array_append_new(tags,
					    json_pack("{s:s}", "name", (*tables)->name));
		for (size_t i = 0; i < (*tables)->count; i++)
			add_route(paths, &(*tables)->routes[i], (*tables)->name);
	}
	return json_pack(
		"{s:s,s:{s:s,s:s,s:s,s:{s:s,s:s}},s:[{s:s}],s:o,s:o,s:o,s:[{s:[]}]}",
		"openapi", "3.1.0", "info", "title", "interpreter-sandbox", "version",
		SBX_VERSION, "description",
		"Runs Python programs, each in a jail of its own. Every path "
		"with GET answers HEAD, too.",
		"license", "name", "MIT", "identifier", "MIT", "servers", "url", "/",
		"tags", tags, "paths", paths, "components", components(), "security",
		"token");
}
