/* SPDX-License-Identifier: MIT
 * Purpose: finding a file of the page (asset.h). Process: the engine. */
#include <string.h>

#include "daemon/asset.h"

static const char plain_page[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
	"<title>interpreter-sandbox</title>\n"
	"<h1>interpreter-sandbox</h1>\n"
	"<p>This server runs Python programs, each in a jail of its own.\n"
	"<p>Its interface is described in <a href=\"/openapi.json\">/openapi.json</a>; "
	"<code>POST /v1/executions</code> with a token runs a program.\n</html>\n";

static const struct asset assets[] = {
	{ "/", "text/html; charset=utf-8", plain_page, sizeof(plain_page) - 1, NULL },
};

const struct asset *asset_find(const char *path)
{
	for (size_t i = 0; i < sizeof(assets) / sizeof(assets[0]); i++)
		if (strcmp(assets[i].path, path) == 0)
			return &assets[i];
	return NULL;
}
