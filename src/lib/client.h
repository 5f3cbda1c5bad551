/* SPDX-License-Identifier: MIT
 * A client of our own HTTP interface (docs/api.md), over a unix socket or TCP, by libcurl.
 * The library is loaded when the first client is opened: linked, it would cost every
 * process of ours 4 ms and thirty libraries. Not part of libsbx. A client may be used by
 * one thread at a time. */
#ifndef SBX_LIB_CLIENT_H
#define SBX_LIB_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "sbx.h"

struct client;

struct client_options {
	const char *socket; /* of the server; or NULL, and then */
	const char *url;    /* http://HOST:PORT or https://HOST:PORT */
	const char *token;  /* for Authorization; NULL: none */
};

/* 0; -errno where libcurl cannot be had (stage ENGINE). Connects to nobody yet. */
int client_open(const struct client_options *options, struct client **ret,
		struct sbx_err *err);
void client_close(struct client *client); /* takes NULL */

struct client_request {
	const char *method, *path; /* the path as it goes into the head */
	const json_t *body;        /* NULL: none */
	/* A stream of NDJSON is asked for; each line is borrowed. NULL: no stream. False
	 * ends the connection, and with it the program. */
	bool (*on_line)(void *arg, const json_t *line);
	/* Called while the answer is waited for and the descriptor is readable; it has to
	 * make that end. It may send another request. NULL: none. */
	const int *wake_fd;
	void (*on_wake)(void *arg);
	void *arg;
};

struct client_answer {
	int status;   /* of HTTP */
	json_t *json; /* NULL: none, or a stream was handed out */
	char *data;   /* of an answer that is no JSON, len bytes; NULL: none */
	size_t len;
};

/* 0: there is an answer, whatever it says. -ENOTCONN: nobody listens there. Else -errno:
 * it was cut, or is larger than 128 MiB. */
int client_send(struct client *client, const struct client_request *request,
		struct client_answer *ret, struct sbx_err *err);
void client_answer_clear(struct client_answer *answer); /* takes a zeroed one */

/* One segment of a path, escaped. malloc'ed, NULL: no memory. */
char *client_escape(const char *segment, size_t len);

#endif
