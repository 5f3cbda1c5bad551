/* SPDX-License-Identifier: MIT
 * Purpose: problem documents (problem.h). Process: the engine. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "daemon/problem.h"

static const struct {
	const char *name, *title;
} titles[] = {
	{ "UsageError", "The request is not one that this server understands" },
	{ "PolicyError", "The policy cannot be used" },
	{ "CeilingExceeded", "More is asked for than the operator allows" },
	{ "GrantRefused", "A directory cannot be granted" },
	{ "InterpreterError", "The interpreter cannot be used" },
	{ "WallMissing", "A wall or limit cannot stand here" },
	{ "Busy", "The server has too much to do" },
	{ "JournalError", "The record cannot be written" },
	{ "Unauthorized", "A token is needed" },
	{ "Forbidden", "This caller may not do that" },
	{ "WrongOrigin", "This Origin is not allowed" },
	{ "WrongHost", "This Host is not served here" },
	{ "NotFound", "There is nothing here" },
	{ "SessionExists", "There is a session of this name" },
	{ "NotRecorded", "There is no record of it" },
	{ "MethodNotAllowed", "This path does not take this method" },
	{ "UnsupportedMediaType", "This path takes another kind of body" },
	{ "TooLarge", "The request is too large" },
	{ "Stopping", "The server is stopping" },
};

json_t *problem_object(int status, const char *name, const char *field,
		       const char *detail)
{
	const char *title = "Something failed here";
	char type[96];

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (strcmp(titles[i].name, name) == 0)
			title = titles[i].title;
	(void)snprintf(type, sizeof(type), "urn:interpreter-sandbox:problem:%s", name);
	return json_pack("{s:s,s:s,s:i,s:s,s:s,s:s?}", "type", type, "title", title,
			 "status", status, "detail", detail, "name", name, "field",
			 field);
}

json_t *problem_of(const struct sbx_err *err)
{
	const struct err_kind *kind = err_kind(err->stage);
	struct sbx_err clean = *err;

	err_sanitize(&clean);
	return problem_object(kind->http_status, kind->name,
			      clean.field[0] ? clean.field : NULL, clean.msg);
}
