/* SPDX-License-Identifier: MIT
 * Purpose: the configuration at work (service.h): who listens, what holds, the orderly end.
 * Process: the engine, on its loop.
 * Trusts: the command that hands the configuration over; nothing in the files that it read.
 * Invariants: a configuration is complete and checked before it replaces the one that
 *   holds; nothing listens before the first one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "daemon/http.h"
#include "daemon/service.h"

struct service {
	struct engine *engine;
	struct config config;
	struct http *http[ROLE_LISTENERS_MAX];
	size_t http_count;
};

int service_new(struct engine *engine, struct service **ret, struct sbx_err *err)
{
	struct service *service = calloc(1, sizeof(*service));

	if (!service)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "service");
	service->engine = engine;
	config_init(&service->config);
	*ret = service;
	return 0;
}

void service_free(struct service **s)
{
	struct service *service = *s;

	*s = NULL;
	if (!service)
		return;
	for (size_t i = 0; i < service->http_count; i++)
		http_close(&service->http[i]);
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

static int listen_on(struct service *service, const struct config_listener *listener,
		     struct sbx_err *err)
{
	if (listener->kind != CONFIG_UNIX)
		return err_set(err, SBX_AT_USAGE, 0,
			       "%s: nothing asks for a token there yet", listener->host);
	return http_open(service->engine, listener->fd,
			 &service->http[service->http_count++], err);
}

/* A private engine, which serves nobody, keeps to one program anyway. */
static void apply(struct service *service)
{
	const struct config *config = &service->config;
	struct admission_limits limits;

	if (config->listener_count == 0 && !config->admission_memory_mb)
		return;
	admission_suggest(&limits);
	if (config->admission_executions)
		limits.executions = (uint32_t)config->admission_executions;
	if (config->admission_memory_mb)
		limits.memory_bytes = (uint64_t)config->admission_memory_mb << 20;
	limits.queue = (uint32_t)config->admission_queue;
	admission_configure(engine_admission(service->engine), &limits);
}

int service_configure(struct service *service, const char *data, size_t len,
		      char **ret_restart, struct sbx_err *err)
{
	bool first = !service->config.set;
	struct config next;
	char *restart;
	int r;

	r = config_from_frame(data, len, &next, err);
	if (r < 0)
		return r;
	restart = first ? strdup("") : config_restart_keys(&service->config, &next);
	if (!restart)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "configuration");
	for (size_t i = 0; first && r == 0 && i < next.listener_count; i++)
		r = listen_on(service, &next.listeners[i], err);
	if (r < 0) {
		free(restart);
		config_clear(&next);
		return r;
	}
	config_clear(&service->config);
	service->config = next;
	apply(service);
	*ret_restart = restart;
	return 0;
}

void service_stop(struct service *service, uint32_t grace_ms, void (*stopped)(void *arg),
		  void *arg)
{
	(void)service;
	(void)grace_ms;
	stopped(arg);
}

void service_stop_forget(struct service *service)
{
	(void)service;
}
