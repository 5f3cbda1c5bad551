/* SPDX-License-Identifier: MIT
 * The page's files, which the binary carries. Engine; any thread. */
#ifndef SBX_DAEMON_ASSET_H
#define SBX_DAEMON_ASSET_H

#include <stdbool.h>
#include <stddef.h>

/* All of it lives as long as the process. */
struct asset {
	const char *path; /* "/", "/assets/app.0123456789ab.js" */
	const char *type; /* "text/html; charset=utf-8" */
	const void *data;
	size_t len;
	const void *gzip; /* the same compressed; NULL: there is none */
	size_t gzip_len;
	bool immutable;  /* its name has its content's hash: may be kept for ever */
	const char *csp; /* NULL: ASSET_CSP */
};

/* Of what is no document. That of the page is made by web/build.mjs, which knows the hashes
 * of what its frames hold; docs/page.md. */
#define ASSET_CSP "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"

/* Made by web/embed.py, ends with a row without a path. */
extern const struct asset web_assets[];

/* NULL: there is none. */
const struct asset *asset_find(const char *path);

#endif
