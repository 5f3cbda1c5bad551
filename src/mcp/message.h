/* SPDX-License-Identifier: MIT
 * One JSON-RPC message of a client, and what is said back. Knows nothing of how messages
 * travel. Engine. */
#ifndef SBX_MCP_MESSAGE_H
#define SBX_MCP_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>

#define MCP_MODERN "2026-07-28"
#define MCP_LEGACY "2025-11-25"       /* the newest that begins with `initialize` */
#define MCP_LEGACY_OLDER "2025-06-18" /* and the oldest: those before have batches */

enum mcp_code {
	MCP_PARSE_ERROR = -32700,
	MCP_INVALID_REQUEST = -32600,
	MCP_NO_METHOD = -32601,
	MCP_INVALID_PARAMS = -32602,
	MCP_INTERNAL = -32603,
	MCP_HEADER_MISMATCH = -32020,
	MCP_UNSUPPORTED_VERSION = -32022,
};

struct message {
	const char *method;
	json_t *id;          /* NULL: a notification */
	json_t *params;      /* an object, or NULL */
	json_t *progress;    /* its token, or NULL */
	const char *version; /* modern: what _meta says; else NULL */
	bool modern, response;
};

struct message_error {
	enum mcp_code code; /* 0: none */
	char text[200];
	const char *requested; /* UNSUPPORTED_VERSION; of the message */
};

/* All of ret is borrowed from value, which may be anything. 0, or -EINVAL with what is wrong;
 * ret->id and ret->modern are as far as they could be read then. */
int message_read(json_t *value, struct message *ret, struct message_error *error);
/* Fills error; returns -EINVAL. */
int message_wrong(struct message_error *error, enum mcp_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool message_legacy_version(const char *version);

/* New references, NULL: no memory. result is taken. */
json_t *message_result(const struct message *m, json_t *result);
json_t *message_fault(const struct message *m, const struct message_error *error);
json_t *message_versions(void);
/* The answer to `initialize` and to `server/discover`. */
json_t *message_initialize(const struct message *m);
json_t *message_discover(void);

#endif
