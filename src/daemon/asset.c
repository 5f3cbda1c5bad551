/* SPDX-License-Identifier: MIT
 * Purpose: finding a file of the page (asset.h). Process: the engine. */
#include <string.h>

#include "daemon/asset.h"

/* What a build without Node.js shows. */
static const char plain_page[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
	"<title>interpreter-sandbox</title>\n"
	"<h1>interpreter-sandbox</h1>\n"
	"<p>This server runs Python programs, each in a jail of its own. It was built without "
	"the page; <code>./dev page</code> builds it.\n"
	"<p>Its interface is described in <a href=\"/openapi.json\">/openapi.json</a>; "
	"<code>POST /v1/executions</code> with a token runs a program.\n</html>\n";

static const struct asset plain = { "/",        "text/html; charset=utf-8",
				    plain_page, sizeof(plain_page) - 1,
				    NULL,       0,
				    false,      NULL };

const struct asset *asset_find(const char *path)
{
	for (const struct asset *asset = web_assets; asset->path; asset++)
		if (strcmp(asset->path, path) == 0)
			return asset;
	return strcmp(path, "/") == 0 ? &plain : NULL;
}
