/* SPDX-License-Identifier: MIT
 * Our own interface (docs/api.md), a table a subject. Engine. */
#ifndef SBX_DAEMON_API_H
#define SBX_DAEMON_API_H

#include "daemon/request.h"
#include "daemon/route.h"
#include "engine/session.h"

extern const struct route_table api_executions; /* api_executions.c */
extern const struct route_table api_server;     /* api_server.c */
extern const struct route_table api_sessions;   /* api_sessions.c */

/* The body of POST /v1/executions, with what the configuration adds; cleared by
 * request_clear(). 0 or -errno, err filled. */
int api_request(struct exchange *ex, struct request *ret, struct sbx_err *err);
/* The same of another object. */
int api_request_of(struct exchange *ex, json_t *object, struct request *ret,
		   struct sbx_err *err);
/* The same over other defaults than the configuration's, lowered to its ceilings. */
int api_request_over(struct exchange *ex, json_t *object,
		     const struct sbx_policy *defaults, struct request *ret,
		     struct sbx_err *err);
/* api_journal.c. NULL: there is none. */
struct journal *api_journal(const struct exchange *ex);
/* With a journal: the answer comes from it. 0 or -errno, err filled. part: "samples",
 * "events", "files", "file"; NULL: the execution itself. */
int api_journal_list(struct exchange *ex, size_t limit, struct sbx_err *err);
int api_journal_one(struct exchange *ex, const char *part, struct sbx_err *err);
int api_journal_head(struct exchange *ex, struct sbx_err *err);
/* One that this caller may see; NULL: it was answered that there is none. */
struct session *api_session(struct exchange *ex, const char *id, const char *field);

#define API_SESSION_NAME_MAX 65u

/* session_arg() of every session that HTTP callers have made. */
struct api_owner {
	char name[80];                           /* the caller */
	char session_name[API_SESSION_NAME_MAX]; /* that he gave it; "": none */
	char *cwd;                     /* that it was asked for with, or NULL; owned */
	const char *door;              /* that it was made by; NULL: /v1/sessions */
	char preset[32], template[65]; /* set by api_session_make(); "": not named */
	char space[65];                /* of the door's: those that belong together, "" */
	bool first;      /* of the door's: what is meant where none is named */
	json_t *passing; /* of the door's: names of variables to forget; owned */
	struct journal *(*journal)(void *arg); /* set by api_session_make() */
	void *journal_arg;
};
/* For this caller. owner: copied, but for name and cwd. 0 or -errno, err filled. */
int api_session_make(struct exchange *ex, const struct request *request, uint32_t idle_s,
		     const struct api_owner *owner, struct session **ret,
		     struct sbx_err *err);

/* ---- for doors that answer in words of their own ---- */

struct session *api_session_find(const struct exchange *ex, const char *id); /* or NULL */
/* For this caller, of the body of POST /v1/sessions. defaults: as of api_request_over(), or
 * NULL. 0 or -errno, err filled. */
int api_session_of(struct exchange *ex, const json_t *object,
		   const struct sbx_policy *defaults, struct session **ret,
		   struct sbx_err *err);
/* Into a request for a program in it: the session, its policy, and the names that it was made
 * with; they live as long as the session. */
void api_session_request(struct session *session, struct execution_request *request);
/* session_restart(), which the journal hears of. */
int api_session_restart(struct session *session, struct sbx_err *err);
json_t *api_session_list(
	struct exchange *ex); /* this caller's, described; new reference */
/* Without a journal: what goes on and the last results. New reference or NULL. */
json_t *api_remembered(const struct exchange *ex, const char *status, size_t limit);
json_t *api_remembered_one(const struct exchange *ex, const char *id);

#endif
