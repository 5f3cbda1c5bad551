/* SPDX-License-Identifier: MIT
 * The page's files, which the binary carries. Engine; any thread. */
#ifndef SBX_DAEMON_ASSET_H
#define SBX_DAEMON_ASSET_H

#include <stddef.h>

struct asset {
	const char *path; /* "/", "/assets/page.js" */
	const char *type; /* "text/html; charset=utf-8" */
	const void *data; /* as long as the process lives */
	size_t len;
	const char *csp; /* NULL: the page's policy, ASSET_CSP */
};

/* Scripts, styles and pictures of this server only; what a program made is shown as text, as
 * a picture from data: or blob:, or in a frame with `sandbox`. */
#define ASSET_CSP                                                                        \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: " \
	"blob:; font-src 'self'; connect-src 'self'; frame-src 'self' blob:; base-uri "  \
	"'none'; form-action 'none'; frame-ancestors 'none'"

/* NULL: there is none. */
const struct asset *asset_find(const char *path);

#endif
