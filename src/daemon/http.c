/* SPDX-License-Identifier: MIT
 * Purpose: the HTTP door (http.h): libmicrohttpd on the engine's loop, its listeners, and
 *   the callers that are too slow or too many.
 * Process: the engine; one thread, no privilege.
 * Trusts: nothing that comes over a connection. Bounded are connections (of each listener
 *   and of each caller), heads, and the time that a head, a body or the reading of an
 *   answer may take.
 * Invariants:
 *   1. A struct exchange has two owners, the connection (until on_completed) and who holds
 *	it for a later answer; the last one frees it. So neither a caller that goes away nor
 *	http_close() leaves a callback dangling.
 *   2. A connection whose caller waits is suspended: libmicrohttpd does not look at it, we
 *	watch it for its end.
 *   3. peer_fd of a unix caller's request is its connection's socket, never -1 (which means
 *	the starter); a TCP caller's grants were checked against the operator's list. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "daemon/http_internal.h"

#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

/* ---- libmicrohttpd on our loop ---- */

static void on_ready(void *arg, uint32_t events);

static void on_timer(void *arg)
{
	on_ready(arg, 0);
}

static void run_soon(struct listener *listener, uint64_t at_us)
{
	/* Without its timer a connection would only be ended later: the descriptor still
	 * wakes us. */
	(void)loop_timer_at(listener->http->loop, &listener->timer, at_us, on_timer,
			    listener);
}

static void on_ready(void *arg, uint32_t events)
{
	struct listener *listener = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	(void)events;
	listener->closed_one = false;
	(void)MHD_run(listener->daemon);
	/* At its limit of connections or descriptors the library stops listening, and
	 * begins again not when one is closed but when it is run the next time. */
	if (listener->closed_one) {
		ms = 0;
	} else if (MHD_get_timeout(listener->daemon, &ms) != MHD_YES) {
		loop_timer_cancel(&listener->timer);
		return;
	}
	run_soon(listener, loop_now_us() + ms * 1000);
}

void http_wake(struct exchange *ex)
{
	if (!ex->suspended || !ex->mhd)
		return;
	ex->suspended = false;
	MHD_resume_connection(ex->mhd);
	/* Without threads of its own the library does not wake itself. Not now: we may be
	 * inside MHD_run(). */
	if (!ex->http->closing)
		run_soon(ex->connection->listener, loop_now_us());
}

/* ---- callers that are too slow ---- */

static void on_sweep(void *arg);

static void sweep_by(struct http *http, uint64_t at_us)
{
	if (http->sweep_at_us && http->sweep_at_us <= at_us)
		return;
	if (loop_timer_at(http->loop, &http->sweep, at_us, on_sweep, http) == 0)
		http->sweep_at_us = at_us;
}

static void on_sweep(void *arg)
{
	struct http *http = arg;
	uint64_t now = loop_now_us(), next = 0;
	struct connection *c;

	http->sweep_at_us = 0;
	for (c = http->connections; c; c = c->next) {
		if (!c->deadline_us)
			continue;
		if (c->deadline_us <= now) {
			/* There is no call to end a connection; at its end of file
			 * libmicrohttpd does. */
			c->deadline_us = 0;
			(void)shutdown(c->fd, SHUT_RDWR);
			http->metrics.connections_cut++;
		} else if (!next || c->deadline_us < next) {
			next = c->deadline_us;
		}
	}
	if (next)
		sweep_by(http, next);
}

void connection_deadline(struct connection *c, unsigned ms)
{
	if (!c)
		return;
	c->deadline_us = ms ? loop_now_us() + (uint64_t)ms * 1000 : 0;
	if (ms)
		sweep_by(c->listener->http, c->deadline_us);
}

/* ---- connections ---- */

/* A caller of its own is each uid on a unix socket; on TCP each address, which the library
 * counts. */
static bool too_many(const struct connection *c)
{
	const struct connection *other;
	size_t count = 0;

	if (c->listener->rules.tcp)
		return false;
	for (other = c->listener->http->connections; other; other = other->next)
		count += other->listener == c->listener && other->uid == c->uid;
	return count >= HTTP_CALLERS_MAX;
}

static void connection_begin(struct listener *listener, int fd, void **context)
{
	struct http *http = listener->http;
	struct connection *c = calloc(1, sizeof(*c));
	struct ucred peer;
	socklen_t len = sizeof(peer);

	/* Unbounded in time it may not be served; a request without a context is
	 * refused. */
	if (!c)
		return;
	c->listener = listener;
	c->fd = fd;
	c->uid = (uid_t)-1;
	if (!listener->rules.tcp &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		c->uid = peer.uid;
	if (too_many(c))
		(void)shutdown(fd, SHUT_RDWR);
	c->next = http->connections;
	if (c->next)
		c->next->prev = c;
	http->connections = c;
	http->metrics.connections++;
	*context = c;
	connection_deadline(c, HTTP_IDLE_MS);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct listener *listener = cls;
	struct connection *c = *context;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		if (info)
			connection_begin(listener, info->connect_fd, context);
		return;
	}
	listener->closed_one = true;
	if (!c)
		return;
	if (c->prev)
		c->prev->next = c->next;
	else
		listener->http->connections = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
	*context = NULL;
}

/* ---- listeners ---- */

/* As it was sent: what it means is judged in one place (route_split()). */
static size_t keep_escaped(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	return strlen(text);
}

static int start_daemon(struct listener *listener, int listen_fd, struct sbx_err *err)
{
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, listener->certificate },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, listener->key },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_END, 0, NULL },
	};
	const union MHD_DaemonInfo *info;

	if (!listener->rules.tls)
		tls[0].option = MHD_OPTION_END;
	listener->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
			(listener->rules.tls ? MHD_USE_TLS : 0),
		0, NULL, NULL, http_on_request, listener, MHD_OPTION_LISTEN_SOCKET,
		listen_fd, MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		listener->rules.tcp ? HTTP_CALLERS_MAX : 0,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)((HTTP_IDLE_MS + 999) / 1000),
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK,
		keep_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed,
		listener, MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (!listener->daemon)
		return err_set(err, SBX_AT_ENGINE, listener->rules.tls ? 0 : errno,
			       listener->rules.tls
				       ? "TLS does not start: the certificate or its key"
				       : "libmicrohttpd does not start");
	info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return err_set(err, SBX_AT_ENGINE, ENOTSUP,
			       "libmicrohttpd has no epoll descriptor");
	if (loop_add(listener->http->loop, info->epoll_fd, EPOLLIN, on_ready, listener,
		     &listener->io) < 0)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "watching the HTTP door");
	return 0;
}

static void listener_free(struct listener *listener)
{
	loop_remove(&listener->io);
	loop_timer_cancel(&listener->timer);
	if (listener->daemon)
		MHD_stop_daemon(listener->daemon); /* http_on_completed() for each */
	free(listener->certificate);
	if (listener->key)
		explicit_bzero(listener->key, strlen(listener->key));
	free(listener->key);
	free(listener);
}

static int set_rules(struct listener *listener, const struct http_listener *from)
{
	struct auth_listener *rules = &listener->rules;

	rules->tcp = from->kind == HTTP_TCP;
	rules->open = from->open;
	rules->tls = from->certificate != NULL;
	if (from->host && (size_t)snprintf(rules->host, sizeof(rules->host), "%s",
					   from->host) >= sizeof(rules->host))
		return -ENAMETOOLONG;
	if (rules->tcp && !rules->host[0])
		return -EINVAL;
	listener->tables = from->tables ? from->tables : api_tables;
	if (!from->certificate)
		return 0;
	listener->certificate = strdup(from->certificate);
	listener->key = strdup(from->key ? from->key : "");
	return listener->certificate && listener->key ? 0 : -ENOMEM;
}

int http_listen(struct http *http, const struct http_listener *from, struct sbx_err *err)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int own_fd, r;

	/* A copy is what the library gets: whether it closes it where it does not start
	 * is not said anywhere. */
	own_fd = fcntl(from->fd, F_DUPFD_CLOEXEC, 3);
	r = own_fd < 0 ? -errno : fd_nonblock(own_fd, true);
	(void)close(from->fd);
	if (!listener)
		r = -ENOMEM;
	if (r == 0) {
		listener->http = http;
		r = set_rules(listener, from);
	}
	if (r == 0 && from->kind == HTTP_TCP)
		r = engine_own_listener(http->engine, own_fd);
	if (r < 0) {
		fd_close(&own_fd);
		free(listener);
		return err_set(err, SBX_AT_ENGINE, -r, "opening the HTTP door");
	}
	r = start_daemon(listener, own_fd, err);
	if (r < 0) {
		if (!listener->daemon)
			fd_close(&own_fd);
		listener_free(listener);
		return r;
	}
	listener->next = http->listeners;
	http->listeners = listener;
	return 0;
}

/* ---- life ---- */

int http_configure(struct http *http, const struct http_options *options,
		   struct sbx_err *err)
{
	struct auth *made;
	int r = auth_new(options, engine_starter_uid(http->engine), &made, err);

	if (r < 0)
		return r;
	auth_release(&http->auth);
	http->auth = made;
	log_set_level(options->log_level);
	return 0;
}

int http_new(struct engine *engine, const struct http_options *options, struct http **ret,
	     struct sbx_err *err)
{
	static const struct http_options none = { .log_level = LOG_WARN };
	struct http *http = calloc(1, sizeof(*http));
	int r;

	if (!http)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "opening the HTTP door");
	http->engine = engine;
	http->loop = engine_loop(engine);
	r = runs_new(&http->metrics, &http->runs);
	if (r < 0)
		(void)err_set(err, SBX_AT_ENGINE, -r, "opening the HTTP door");
	else
		r = http_configure(http, options ? options : &none, err);
	if (r < 0) {
		http_close(&http);
		return r;
	}
	if (options && options->submit)
		runs_submit_by(http->runs, options->submit, options->submit_arg);
	if (options) {
		http->journal = options->journal;
		http->journal_arg = options->submit_arg;
	}
	*ret = http;
	return 0;
}

void http_stop(struct http *http)
{
	http->stopping = true;
}

void http_stop_listening(struct http *http)
{
	/* What waits to be accepted was connected before: it is taken first. */
	for (struct listener *l = http->listeners; l; l = l->next) {
		int fd;

		(void)MHD_run(l->daemon);
		fd = MHD_quiesce_daemon(l->daemon);
		fd_close(&fd);
	}
}

size_t http_busy(const struct http *http)
{
	size_t count = runs_live(http->runs);

	for (const struct connection *c = http->connections; c; c = c->next)
		count += c->exchange != NULL;
	return count;
}

void http_close(struct http **http_)
{
	struct http *http = *http_;
	struct connection *c;
	struct listener *listener;

	if (!http)
		return;
	*http_ = NULL;
	http->closing = true;
	/* A suspended one is fatal to MHD_stop_daemon(). */
	for (c = http->connections; c; c = c->next)
		if (c->exchange)
			http_wake(c->exchange);
	while ((listener = http->listeners) != NULL) {
		http->listeners = listener->next;
		listener_free(listener);
	}
	loop_timer_cancel(&http->sweep);
	runs_free(&http->runs); /* detached ones are ended, too */
	auth_release(&http->auth);
	free(http);
}
