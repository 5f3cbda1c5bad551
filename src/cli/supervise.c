/* SPDX-License-Identifier: MIT
 * Purpose: the life of `sandbox serve` behind its sockets: starts broker and engine, tells
 *   them the configuration, starts them again when one of them is killed, reloads, and
 *   ends them in order (serve.h).
 * Process: the command, on poll(2). Trusts: the engine to follow the door's protocol no
 *   further than this: frames of known types and bounded lengths.
 * Invariants: the sockets are kept open here, so that callers wait while an engine is
 *   replaced; what an engine did not answer is never answered by its successor: those
 *   connections are cut. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "cli/cli.h"
#include "cli/notify.h"
#include "cli/serve.h"
#include "daemon/door.h"
#include "lib/internal.h"
#include "lib/offer.h"

#define ANSWER_MS 30000 /* to a configuration; a busy machine takes seconds */
#define QUICK_MS 10000  /* an engine that lives shorter is started again less soon */
#define BACK_OFF_MS 100
#define BACK_OFF_MAX_MS 5000
#define BEYOND_GRACE_MS 5000 /* for what is killed at its end to be reported */

/* How the end is reached, in this order; a signal may skip to the last. */
enum phase { SERVING, STOPPING, ENDED };

struct supervise {
	struct serve *serve;
	enum phase phase;
	bool ready, reloading, told; /* told: the places were printed */
	uint64_t answer_by_ms;       /* 0: no configuration is under way */
	uint64_t start_at_ms;        /* no engine runs: when to start one */
	uint64_t back_off_ms;
	uint64_t stop_by_ms;
	uint64_t ping_at_ms; /* 0: nobody wants to know */
	uint64_t used_ms;    /* with idle_exit_ms: when it was last seen to be of use */
	uint32_t begun;      /* door_pong's, then */
	int code;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the engine ---- */

static int send_config(struct supervise *s)
{
	char *text = serve_frame(s->serve);
	size_t len = text ? strlen(text) : 0;
	int r = text ? 0 : -ENOMEM;

	if (r == 0 && len > CONFIG_FRAME_MAX)
		r = -EMSGSIZE;
	if (r == 0)
		r = wire_send_frame(s->serve->spawned.door, DOOR_CONFIG, text, len, NULL,
				    0);
	if (text)
		explicit_bzero(text, len);
	free(text);
	if (r == 0)
		s->answer_by_ms = now_ms() + ANSWER_MS;
	return r;
}

static int offer_list(const struct spawned *spawned, const json_t *list,
		      int (*offer)(const struct spawned *spawned, const char *item,
				   struct sbx_err *err))
{
	struct sbx_err err = { 0 };
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)list, i, item)
	{
		if (offer(spawned, json_string_value(item), &err) < 0)
			return cli_fail(EXIT_WRONG_USAGE, "serve: %s", err.msg);
	}
	return 0;
}

/* Places of root's own that callers may be shown, before anybody can ask for them. */
static int offer_all(const struct serve *serve)
{
	int code = offer_list(&serve->spawned, json_object_get(serve->plan, "grantable"),
			      offer_grantable);

	if (code == 0)
		code = offer_list(&serve->spawned, serve->pythons, offer_python);
	if (code == 0)
		code = offer_list(&serve->spawned,
				  json_object_get(serve->plan, "pythons"), offer_python);
	return code;
}

static int start(struct supervise *s)
{
	struct serve *serve = s->serve;
	const struct timeval patience = { .tv_sec = ANSWER_MS / 1000 };
	int fds[ROLE_LISTENERS_MAX], r;
	struct spawn_options options = { .door = true,
					 .listeners = fds,
					 .listener_count = serve->listeners.count,
					 .journal_fd = serve->journal_fd,
					 .key_fd = serve->key_fd };
	struct sbx_err err = { 0 };

	for (size_t i = 0; i < serve->listeners.count; i++)
		fds[i] = serve->listeners.of[i].fd;
	serve->started_ms = now_ms();
	serve->in_len = 0;
	s->start_at_ms = 0;
	if (spawn_broker(&options, &serve->spawned, &err) < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: %s", err.msg);
	serve->running = true;
	/* An engine that does not read does not hold us up for ever. */
	(void)setsockopt(serve->spawned.door, SOL_SOCKET, SO_SNDTIMEO, &patience,
			 sizeof(patience));
	r = offer_all(serve);
	if (r != 0)
		return r;
	r = send_config(s);
	return r < 0 ? cli_fail(EXIT_OUR_FAULT, "serve: telling the engine: %s",
				strerror(-r))
		     : 0;
}

/* It is gone, or is to be. Takes its groups away. */
static int end(struct supervise *s)
{
	int r = s->serve->running ? spawn_end(&s->serve->spawned) : 0;

	s->serve->running = false;
	s->answer_by_ms = 0;
	return r;
}

/* False: it is not worth another try. */
static bool lost(struct supervise *s, const char *why)
{
	bool quick = now_ms() - s->serve->started_ms < QUICK_MS;

	(void)end(s);
	if (s->phase != SERVING || !s->ready) {
		s->code = cli_fail(EXIT_OUR_FAULT, "serve: %s", why);
		return false;
	}
	if (!quick)
		s->back_off_ms = 0;
	(void)cli_fail(0, "serve: %s; starting it again", why);
	notify_say("STATUS=the engine was lost and is started again");
	s->start_at_ms = now_ms() + s->back_off_ms;
	s->back_off_ms = s->back_off_ms ? 2 * s->back_off_ms : BACK_OFF_MS;
	if (s->back_off_ms > BACK_OFF_MAX_MS)
		s->back_off_ms = BACK_OFF_MAX_MS;
	s->reloading = false;
	return true;
}

/* ---- what it says ---- */

static const char *shown_host(const struct listener *listener)
{
	static char text[300];
	const char *port = strrchr(listener->host, ':');

	/* Nobody can connect to "any address". */
	if (strncmp(listener->host, "0.0.0.0:", 8) == 0 ||
	    strncmp(listener->host, "[::]:", 5) == 0)
		(void)snprintf(text, sizeof(text), "localhost%s", port ? port : "");
	else
		(void)snprintf(text, sizeof(text), "%s", listener->host);
	return text;
}

/* Once, for whoever waits for it. */
static void tell_places(struct supervise *s)
{
	const struct serve *serve = s->serve;
	const char *scheme = serve->tls ? "https" : "http";

	for (size_t i = 0; i < serve->listeners.count; i++) {
		const struct listener *listener = &serve->listeners.of[i];
		char *path;

		if (listener->kind == LISTEN_UNIX) {
			path = summary_line(listener->host, strlen(listener->host), 4096);
			(void)fprintf(stderr, "listening on unix:%s\n",
				      path ? path : listener->host);
			free(path);
		} else if (listener->kind == LISTEN_DOOR) {
			(void)fprintf(stderr, "listening on %s://%s (%s%s)\n", scheme,
				      listener->host, listener->door,
				      listener->open ? ", without a token" : "");
		} else {
			(void)fprintf(stderr, "listening on %s://%s\n", scheme,
				      listener->host);
			if (serve->made_token[0])
				(void)fprintf(stderr, "open %s://%s/#token=%s\n", scheme,
					      shown_host(listener), serve->made_token);
		}
	}
	s->told = true;
}

static void config_done(struct supervise *s, const char *keys, size_t len)
{
	s->answer_by_ms = 0;
	if (!s->reloading)
		return;
	s->reloading = false;
	if (len > 0)
		(void)cli_fail(
			0,
			"serve: configuration reloaded; these keys take a restart: %.*s",
			(int)len, keys);
	else
		(void)cli_fail(0, "serve: configuration reloaded");
	notify_say("READY=1\nSTATUS=serving");
}

/* An error is about the configuration: of a reload, or of the start. */
static bool refused(struct supervise *s, const char *data, size_t len)
{
	struct sbx_err err;

	if (len != sizeof(err))
		return false;
	memcpy(&err, data, sizeof(err));
	err_sanitize(&err);
	s->answer_by_ms = 0;
	if (s->reloading) {
		s->reloading = false;
		(void)cli_fail(0, "serve: %s; the configuration that held holds on",
			       err.msg);
		notify_say("READY=1\nSTATUS=serving; the last reload failed");
		return true;
	}
	s->code = cli_fail(err_kind(err.stage)->exit_code, "serve: %s", err.msg);
	s->phase = ENDED;
	return true;
}

static void stop(struct supervise *s);

/* False: it does not follow the protocol. */
static bool take_pong(struct supervise *s, const char *data, size_t len)
{
	struct door_pong now;
	uint64_t at = now_ms();

	if (len != sizeof(now))
		return false;
	memcpy(&now, data, sizeof(now));
	notify_say("WATCHDOG=1");
	if (now.live > 0 || now.begun != s->begun)
		s->used_ms = at;
	s->begun = now.begun;
	if (s->serve->idle_exit_ms && s->phase == SERVING && s->ready &&
	    at - s->used_ms >= s->serve->idle_exit_ms)
		stop(s);
	return true;
}

/* False: it does not follow the protocol. */
static bool take_frame(struct supervise *s, uint32_t type, const char *data, size_t len)
{
	switch (type) {
	case DOOR_CONFIG_DONE:
		config_done(s, data, len);
		return true;
	case DOOR_READY:
		if (!s->told)
			tell_places(s);
		s->ready = true;
		notify_say("READY=1\nSTATUS=serving");
		return true;
	case DOOR_ERROR:
		return refused(s, data, len);
	case DOOR_STOPPED:
		s->phase = ENDED;
		return true;
	case DOOR_PONG:
		return take_pong(s, data, len);
	default:
		return false;
	}
}

/* 0, or -errno when the door is of no more use. */
static int read_door(struct supervise *s)
{
	struct serve *serve = s->serve;
	struct wire_frame frame;
	size_t at = 0;
	ssize_t n;

	n = recv(serve->spawned.door, serve->in + serve->in_len,
		 sizeof(serve->in) - serve->in_len, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	serve->in_len += (size_t)n;
	while (serve->in_len - at >= sizeof(frame)) {
		memcpy(&frame, serve->in + at, sizeof(frame));
		if (frame.len > sizeof(serve->in) - sizeof(frame))
			return -EBADMSG;
		if (serve->in_len - at - sizeof(frame) < frame.len)
			break;
		if (!take_frame(s, frame.type, serve->in + at + sizeof(frame), frame.len))
			return -EBADMSG;
		at += sizeof(frame) + frame.len;
	}
	memmove(serve->in, serve->in + at, serve->in_len - at);
	serve->in_len -= at;
	return 0;
}

/* ---- signals ---- */

static void reload(struct supervise *s)
{
	if (!s->serve->running || s->reloading || s->answer_by_ms || s->phase != SERVING)
		return;
	notify_reloading();
	/* What is wrong has been said; all stays as it was. */
	if (serve_configure(s->serve) != 0) {
		(void)cli_fail(0, "serve: the configuration that held holds on");
		notify_say("READY=1\nSTATUS=serving; the last reload failed");
		return;
	}
	/* Directories take a restart; one interpreter more does not. */
	(void)offer_list(&s->serve->spawned, json_object_get(s->serve->plan, "pythons"),
			 offer_python);
	s->reloading = true;
	if (send_config(s) < 0)
		s->reloading = false;
}

static void stop(struct supervise *s)
{
	const struct door_stop how = { .grace_ms = s->serve->grace_ms };

	if (s->phase == STOPPING || !s->serve->running || !s->ready) {
		s->phase = ENDED;
		return;
	}
	notify_say("STOPPING=1\nSTATUS=finishing what runs");
	s->phase = STOPPING;
	s->stop_by_ms = now_ms() + s->serve->grace_ms + BEYOND_GRACE_MS;
	/* First the names, so that nobody connects to what is ending. */
	listen_end(&s->serve->listeners);
	if (wire_send_frame(s->serve->spawned.door, DOOR_STOP, &how, sizeof(how), NULL,
			    0) < 0)
		s->phase = ENDED;
}

static void take_signals(struct supervise *s)
{
	struct signalfd_siginfo info;

	while (read(s->serve->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(s);
		else
			stop(s);
	}
}

/* True at its end. What is written to it means nothing. */
static bool stdin_ended(void)
{
	char thrown_away[4096];
	ssize_t n = read(0, thrown_away, sizeof(thrown_away));

	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

/* ---- time ---- */

static void earlier(uint64_t *at, uint64_t when)
{
	if (when && when < *at)
		*at = when;
}

static int wait_ms(const struct supervise *s)
{
	uint64_t now = now_ms(), at = now + 3600000;

	earlier(&at, s->answer_by_ms);
	earlier(&at, s->ping_at_ms);
	if (!s->serve->running && s->phase == SERVING)
		earlier(&at, s->start_at_ms);
	if (s->phase == STOPPING)
		earlier(&at, s->stop_by_ms);
	return at > now ? (int)(at - now) : 0;
}

/* How often the engine is asked; 0: never. */
static uint64_t ping_every_ms(const struct supervise *s)
{
	uint64_t watchdog = notify_watchdog_us() / 2000,
		 idle = s->serve->idle_exit_ms / 4;

	if (s->serve->idle_exit_ms && idle < 100)
		idle = 100;
	return watchdog && (!idle || watchdog < idle) ? watchdog : idle;
}

/* False: the end. */
static bool take_time(struct supervise *s)
{
	uint64_t now = now_ms();

	if (s->answer_by_ms && now >= s->answer_by_ms)
		return lost(s, "the engine does not answer");
	if (s->phase == STOPPING && now >= s->stop_by_ms)
		return false;
	if (!s->serve->running && now >= s->start_at_ms && start(s) != 0)
		return lost(s, "starting the engine failed");
	/* Only an engine whose loop turns answers, and only its answer feeds the
	 * watchdog. */
	if (s->ping_at_ms && now >= s->ping_at_ms) {
		s->ping_at_ms = now + ping_every_ms(s);
		if (s->serve->running)
			(void)wire_send_frame(s->serve->spawned.door, DOOR_PING, NULL, 0,
					      NULL, 0);
	}
	return true;
}

static void turn(struct supervise *s)
{
	struct serve *serve = s->serve;
	bool running = serve->running;
	struct pollfd fds[4] = {
		{ .fd = running ? serve->spawned.pidfd : -1, .events = POLLIN },
		{ .fd = running ? serve->spawned.door : -1, .events = POLLIN },
		{ .fd = serve->signals, .events = POLLIN },
		{ .fd = serve->with_stdin ? 0 : -1, .events = POLLIN },
	};

	if (poll(fds, 4, wait_ms(s)) < 0) {
		if (errno != EINTR) {
			s->code = cli_fail(EXIT_OUR_FAULT, "serve: poll: %s",
					   strerror(errno));
			s->phase = ENDED;
		}
		return;
	}
	if (fds[2].revents)
		take_signals(s);
	/* A server that belongs to another program has nobody left to finish for. */
	if (fds[3].revents && stdin_ended())
		s->phase = ENDED;
	if (s->phase == ENDED)
		return;
	if (fds[1].revents && read_door(s) < 0 && s->phase != ENDED &&
	    !lost(s, "the engine has ended unexpectedly"))
		s->phase = ENDED;
	else if (!fds[1].revents && fds[0].revents &&
		 !lost(s, "the broker has ended unexpectedly"))
		s->phase = ENDED;
	if (s->phase != ENDED && !take_time(s))
		s->phase = ENDED;
}

int serve_supervise(struct serve *serve)
{
	struct supervise s = { .serve = serve };
	int r;

	s.used_ms = now_ms();
	if (ping_every_ms(&s))
		s.ping_at_ms = now_ms() + 1;
	s.code = start(&s);
	while (s.code == 0 && s.phase != ENDED)
		turn(&s);
	notify_say("STOPPING=1");
	listen_end(&serve->listeners);
	r = end(&s);
	if (s.code == 0 && (r < 0 || r == 128 + SIGKILL))
		s.code = cli_fail(EXIT_OUR_FAULT, "serve: the broker had to be killed");
	return s.code;
}
