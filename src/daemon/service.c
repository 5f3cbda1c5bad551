/* SPDX-License-Identifier: MIT
 * Purpose: the configuration at work (service.h): who listens, what holds, the orderly end.
 * Process: the engine, on its loop.
 * Trusts: the command that hands the configuration over; nothing in the files that it read.
 * Invariants: a configuration is complete and checked before it replaces the one that
 *   holds; nothing listens before the first one; stopped() comes once, and not before
 *   every answer is out or its connection gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "daemon/doors/doors.h"
#include "daemon/http.h"
#include "daemon/service.h"
#include "engine/session.h"

#define LOOK_US 10000 /* between two looks at what is left, while stopping */

#define TABLES_MAX 16u

struct service {
	struct engine *engine;
	struct recorder *recorder;
	bool recording; /* recorder_open() was called */
	struct config config;
	const struct route_table *unix_tables[TABLES_MAX], *tcp_tables[TABLES_MAX];
	struct http *http; /* NULL until somebody is listened to */
	struct execution *warm[CONFIG_TEMPLATES_MAX]; /* templates that are being made */
	struct loop_timer *timer;                     /* while stopping */
	uint64_t stop_by_us;                          /* 0: it serves */
	bool cancelled;
	void (*stopped)(void *arg);
	void *arg;
};

static void set_tables(const struct route_table *ret[TABLES_MAX],
		       const struct route_table *const *own,
		       const struct route_table *const *more)
{
	size_t count = 0;

	for (; *own && count + 1 < TABLES_MAX; own++)
		ret[count++] = *own;
	for (; *more && count + 1 < TABLES_MAX; more++)
		ret[count++] = *more;
	ret[count] = NULL;
}

int service_new(struct engine *engine, const struct route_table *const *more,
		struct service **ret, struct sbx_err *err)
{
	struct service *service = calloc(1, sizeof(*service));

	if (!service)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "service");
	if (recorder_new(engine, &service->recorder, err) < 0) {
		free(service);
		return -ENOMEM;
	}
	service->engine = engine;
	set_tables(service->unix_tables, doors_all(), more);
	set_tables(service->tcp_tables, api_tables, more);
	config_init(&service->config);
	*ret = service;
	return 0;
}

static void record_end(void *arg, struct session *session)
{
	json_t *described = session_describe(session);

	if (described)
		journal_session(arg, described, "ended");
	json_decref(described);
}

void service_close(struct service *service)
{
	struct journal *journal;

	if (!service)
		return;
	loop_timer_cancel(&service->timer);
	http_close(&service->http);
	/* They end with this process, and the journal before them. */
	journal = recorder_journal(service->recorder);
	if (journal)
		engine_sessions(service->engine, record_end, journal);
	recorder_close(service->recorder);
}

void service_free(struct service **s)
{
	struct service *service = *s;

	*s = NULL;
	if (!service)
		return;
	service_close(service);
	recorder_free(&service->recorder);
	config_clear(&service->config);
	free(service);
}

struct engine *service_engine(const struct service *service)
{
	return service->engine;
}

const struct config *service_config(const struct service *service)
{
	return &service->config;
}

/* ---- the journal ---- */

/* Where it is: see ROLE_JOURNAL_FD. What was not given is /dev/null. */
static void find_journal(struct record_options *options)
{
	struct stat st;

	options->dir_fd = -1;
	options->key_fd = -1;
	if (fstat(ROLE_JOURNAL_KEY_FD, &st) == 0 && S_ISREG(st.st_mode))
		options->key_fd = ROLE_JOURNAL_KEY_FD;
	if (fstat(ROLE_JOURNAL_FD, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode)) {
		options->enabled = true;
		options->dir_fd = ROLE_JOURNAL_FD;
	} else if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 7)) {
		options->enabled = true;
		options->why_none = JOURNAL_NOT_MOUNTED;
	}
}

static int open_journal(struct service *service, const struct config *config,
			struct sbx_err *err)
{
	struct record_options options = {
		.required = config->journal_required,
		.durability = config->journal_durability == CONFIG_FULL ? JOURNAL_FULL
									: JOURNAL_NORMAL,
		.keep_days = (uint32_t)config->journal_keep_days,
		.keep_bytes = (uint64_t)config->journal_keep_mb << 20,
		.redact = (const char *const *)config->redact.items,
		.redact_count = config->redact.count,
		.starter_uid = (uint32_t)engine_starter_uid(service->engine),
	};

	if (service->recording)
		return 0;
	if (!config->journal_off)
		find_journal(&options);
	if (!config->journal_off && config->journal_error) {
		options.enabled = true;
		options.why_none = config->journal_error;
	}
	if (config->journal_required && !options.enabled)
		return err_set_field(err, SBX_AT_JOURNAL, 0, "journal.required",
				     "journal.required: no directory was given for it");
	service->recording = true;
	return recorder_open(service->recorder, &options, err);
}

struct journal *service_journal(struct service *service)
{
	(void)open_journal(service, &service->config, NULL);
	return recorder_journal(service->recorder);
}

int service_submit(struct service *service, const struct execution_request *request,
		   const struct record_caller *caller, const struct execution_sink *sink,
		   struct execution **ret, struct sbx_err *err)
{
	int r = open_journal(service, &service->config, err);

	return r < 0 ? r
		     : record_submit(service->recorder, request, caller, sink, ret, err);
}

static int submit_http(void *arg, const struct execution_request *request,
		       const struct record_caller *caller,
		       const struct execution_sink *sink, struct execution **ret,
		       struct sbx_err *err)
{
	return service_submit(arg, request, caller, sink, ret, err);
}

static struct journal *journal_of(void *arg)
{
	return service_journal(arg);
}

/* ---- HTTP under a configuration ---- */

/* What http_configure() copies; the arrays are ours until then. */
struct borrowed {
	struct http_options options;
	struct http_token tokens[CONFIG_TOKENS_MAX];
	struct http_template templates[CONFIG_TEMPLATES_MAX];
	const char *hosts[65], *origins[65], *grantable[65];
};

static const char *const *texts(const char *ret[65], const struct policy_list *list)
{
	size_t i;

	for (i = 0; i < list->count && i < 64; i++)
		ret[i] = list->items[i];
	ret[i] = NULL;
	return ret;
}

static void borrow(struct borrowed *b, const struct config *config,
		   struct service *service)
{
	for (size_t i = 0; i < config->token_count && i < CONFIG_TOKENS_MAX; i++)
		b->tokens[i] = (struct http_token){ config->tokens[i].name,
						    config->tokens[i].secret,
						    config->tokens[i].owner,
						    config->tokens[i].ceilings };
	for (size_t i = 0; i < config->template_count; i++)
		b->templates[i] = (struct http_template){ config->templates[i].name,
							  config->templates[i].python,
							  config->templates[i].preload };
	b->options = (struct http_options){
		.tokens = b->tokens,
		.token_count = config->token_count,
		.hosts = texts(b->hosts, &config->hosts),
		.origins = texts(b->origins, &config->origins),
		.grantable = texts(b->grantable, &config->grantable_directories),
		.defaults = &config->defaults,
		.ceilings = &config->ceilings,
		.templates = b->templates,
		.template_count = config->template_count,
		.log_level = (enum log_level)config->log_level,
		.submit = submit_http,
		.journal = journal_of,
		.submit_arg = service,
	};
}

static int listen_on(const struct service *service, const struct config *config,
		     const struct config_listener *from, struct sbx_err *err)
{
	const struct http_listener listener = {
		.tables = from->kind == CONFIG_UNIX   ? service->unix_tables
			  : from->kind == CONFIG_DOOR ? doors_of(from->door)
						      : service->tcp_tables,
		.fd = from->fd,
		.kind = from->kind == CONFIG_UNIX ? HTTP_UNIX : HTTP_TCP,
		.open = from->open,
		.host = from->host,
		.certificate = from->tls ? config->certificate : NULL,
		.key = from->tls ? config->key : NULL,
	};

	if (from->kind == CONFIG_DOOR && !listener.tables)
		return err_set_field(err, SBX_AT_USAGE, 0, "doors",
				     "doors: there is no door named \"%s\": %s",
				     from->door, doors_names());
	return http_listen(service->http, &listener, err);
}

static int start(struct service *service, const struct config *config,
		 const struct http_options *options, struct sbx_err *err)
{
	int r = http_new(service->engine, options, &service->http, err);

	for (size_t i = 0; r == 0 && i < config->listener_count; i++)
		r = listen_on(service, config, &config->listeners[i], err);
	return r;
}

/* ---- templates that are warm from the start ---- */

static void on_warm(void *arg, json_t *result)
{
	const char *status = json_string_value(json_object_get(result, "status"));
	struct execution **at = arg;

	*at = NULL;
	if (!status || strcmp(status, "ok") != 0)
		log_line(LOG_WARN, "template", "status=%s error=%s",
			 log_value(status ? status : "?"),
			 log_value(json_string_value(json_object_get(
				 json_object_get(result, "error"), "value"))));
}

/* An empty program makes the template, and tells its pool that there is demand. */
static void warm(struct service *service)
{
	const struct config *config = &service->config;

	for (size_t i = 0; i < config->template_count; i++) {
		const struct execution_sink sink = { .done = on_warm,
						     .arg = &service->warm[i] };
		struct execution_request request = { .code = "", .peer_fd = -1 };
		struct sbx_err err = { 0 };
		struct sbx_policy policy;

		if (service->warm[i])
			continue;
		policy_init(&policy);
		request.policy = &policy;
		if (config_set_template(config, config->templates[i].name, &policy) < 0 ||
		    engine_submit(service->engine, &request, &sink, &service->warm[i],
				  &err) < 0)
			log_line(LOG_WARN, "template", "name=%s error=%s",
				 log_value(config->templates[i].name),
				 log_value(err.msg));
		policy_clear(&policy);
	}
}

/* ---- configuring ---- */

static void apply_limits(struct service *service)
{
	const struct config *config = &service->config;
	struct admission_limits limits;

	admission_suggest(&limits);
	if (config->admission_executions)
		limits.executions = (uint32_t)config->admission_executions;
	if (config->admission_memory_mb)
		limits.memory_bytes = (uint64_t)config->admission_memory_mb << 20;
	limits.queue = (uint32_t)config->admission_queue;
	admission_configure(engine_admission(service->engine), &limits);
	engine_session_limits(service->engine, (size_t)config->sessions_max,
			      (uint32_t)config->sessions_idle_timeout);
}

int service_configure(struct service *service, const char *data, size_t len,
		      char **ret_restart, struct sbx_err *err)
{
	bool first = !service->config.set;
	struct borrowed *b = calloc(1, sizeof(*b));
	struct config next;
	char *restart;
	int r;

	if (!b)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "configuration");
	r = config_from_frame(data, len, &next, err);
	if (r < 0) {
		free(b);
		return r;
	}
	borrow(b, &next, service);
	restart = first ? strdup("") : config_restart_keys(&service->config, &next);
	if (!restart)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "configuration");
	else if (first && (r = open_journal(service, &next, err)) == 0 &&
		 next.listener_count > 0)
		r = start(service, &next, &b->options, err);
	else if (r == 0 && service->http)
		r = http_configure(service->http, &b->options, err);
	explicit_bzero(b, sizeof(*b));
	free(b);
	if (r < 0) {
		free(restart);
		config_clear(&next);
		return r;
	}
	config_clear(&service->config);
	service->config = next;
	/* A private engine runs one program at a time for whoever started it. */
	if (service->http) {
		apply_limits(service);
		warm(service);
	}
	*ret_restart = restart;
	return 0;
}

/* ---- the end ---- */

static void look(void *arg)
{
	struct service *service = arg;
	uint64_t now = loop_now_us();

	if (!service->http || http_busy(service->http) == 0) {
		loop_timer_cancel(&service->timer);
		if (service->stopped)
			service->stopped(service->arg);
		service->stopped = NULL;
		return;
	}
	if (now >= service->stop_by_us && !service->cancelled) {
		service->cancelled = true;
		engine_cancel_all(service->engine);
	}
	/* Without its timer nothing would end any more: the command loses patience. */
	(void)loop_timer_at(engine_loop(service->engine), &service->timer, now + LOOK_US,
			    look, service);
}

void service_stop(struct service *service, uint32_t grace_ms, void (*stopped)(void *arg),
		  void *arg)
{
	bool first = service->stop_by_us == 0;

	service->stop_by_us = loop_now_us() + (uint64_t)grace_ms * 1000;
	service->stopped = stopped;
	service->arg = arg;
	if (service->http && first) {
		http_stop(service->http);
		http_stop_listening(service->http);
	}
	(void)loop_timer_at(engine_loop(service->engine), &service->timer, loop_now_us(),
			    look, service);
}

void service_stop_forget(struct service *service)
{
	service->stopped = NULL;
}
