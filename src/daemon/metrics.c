/* SPDX-License-Identifier: MIT
 * Purpose: counts and histograms, and their text (metrics.h).
 * Process: the engine. Trusts: nothing in a result: kinds of events that are no words are
 *   counted as one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/metrics.h"

static const double bounds_s[METRICS_BUCKETS] = { 0.0005, 0.001, 0.0025, 0.005,
						  0.01,   0.025, 0.05,   0.1,
						  0.25,   0.5,   1,      2.5,
						  5,      10,    30,     60 };

static void observe(struct histogram *h, uint64_t us)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS && (double)us > bounds_s[i] * 1e6)
		i++;
	h->buckets[i]++;
	h->sum_us += us;
}

void metrics_request(struct metrics *m, const char *route, int status, uint64_t us,
		     size_t received, size_t sent)
{
	size_t i = 0;

	m->received_bytes += received;
	m->sent_bytes += sent;
	observe(&m->requests, us);
	while (i < METRICS_ROUTES - 1 && m->routes[i].route &&
	       strcmp(m->routes[i].route, route) != 0)
		i++;
	if (!m->routes[i].route)
		m->routes[i].route = i == METRICS_ROUTES - 1 ? "other" : route;
	m->routes[i].by_class[status >= 100 && status < 600 ? status / 100 : 0]++;
}

static void count_denial(struct metrics *m, const char *kind, uint64_t count)
{
	size_t len = kind ? strlen(kind) : 0, i = 0;

	if (len == 0 || len >= sizeof(m->denials[0].kind) ||
	    strspn(kind, "abcdefghijklmnopqrstuvwxyz_0123456789") != len)
		kind = "other";
	while (i < METRICS_KINDS - 1 && m->denials[i].kind[0] &&
	       strcmp(m->denials[i].kind, kind) != 0)
		i++;
	if (!m->denials[i].kind[0])
		(void)snprintf(m->denials[i].kind, sizeof(m->denials[i].kind), "%s",
			       i == METRICS_KINDS - 1 ? "other" : kind);
	m->denials[i].count += count;
}

void metrics_run(struct metrics *m, const json_t *result,
		 const struct execution_times *times, uint64_t now_us)
{
	const char *status = json_string_value(json_object_get(result, "status"));
	const json_t *event;
	size_t i;

	if (!result) {
		m->refused++;
		return;
	}
	for (i = 0; i <= SBX_FAULT; i++)
		if (status && strcmp(sbx_status_name((enum sbx_status)i), status) == 0)
			m->verdicts[i]++;
	if (times->taken_us >= times->submitted_us)
		observe(&m->queue, times->taken_us - times->submitted_us);
	if (times->taken_us && times->started_us >= times->taken_us)
		observe(&m->setup, times->started_us - times->taken_us);
	if (times->started_us && times->ended_us >= times->started_us)
		observe(&m->run, times->ended_us - times->started_us);
	if (times->ended_us && now_us >= times->ended_us)
		observe(&m->reap, now_us - times->ended_us);
	json_array_foreach(json_object_get(result, "events"), i, event)
	{
		const char *kind = json_string_value(json_object_get(event, "kind"));
		json_int_t count = json_integer_value(json_object_get(event, "count"));

		if (kind && strcmp(kind, "connection") != 0)
			count_denial(m, kind, count > 0 ? (uint64_t)count : 1);
	}
}

/* ---- text ---- */

static int head(struct buf *out, const char *name, const char *type, const char *help)
{
	return buf_addf(out, "# HELP sandbox_%s %s\n# TYPE sandbox_%s %s\n", name, help,
			name, type);
}

static int counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
	int r = head(out, name, "counter", help);

	return r < 0 ? r
		     : buf_addf(out, "sandbox_%s %llu\n", name,
				(unsigned long long)value);
}

static int histogram_text(struct buf *out, const char *name, const char *help,
			  const struct histogram *h)
{
	uint64_t sum = 0;
	int r = head(out, name, "histogram", help);

	for (size_t i = 0; r == 0 && i < METRICS_BUCKETS; i++) {
		sum += h->buckets[i];
		r = buf_addf(out, "sandbox_%s_bucket{le=\"%g\"} %llu\n", name,
			     bounds_s[i], (unsigned long long)sum);
	}
	sum += h->buckets[METRICS_BUCKETS];
	if (r == 0)
		r = buf_addf(out,
			     "sandbox_%s_bucket{le=\"+Inf\"} %llu\nsandbox_%s_sum %.6f\n"
			     "sandbox_%s_count %llu\n",
			     name, (unsigned long long)sum, name, (double)h->sum_us / 1e6,
			     name, (unsigned long long)sum);
	return r;
}

static int requests_text(struct buf *out, const struct metrics *m)
{
	static const char *const classes[] = {
		"none", "1xx", "2xx", "3xx", "4xx", "5xx"
	};
	int r = head(out, "http_requests_total", "counter",
		     "Requests by operation and class of status.");

	for (size_t i = 0; r == 0 && i < METRICS_ROUTES && m->routes[i].route; i++)
		for (size_t j = 0; r == 0 && j < 6; j++)
			if (m->routes[i].by_class[j])
				r = buf_addf(
					out,
					"sandbox_http_requests_total{operation=\"%s\","
					"status=\"%s\"} %llu\n",
					m->routes[i].route, classes[j],
					(unsigned long long)m->routes[i].by_class[j]);
	return r;
}

static int verdicts_text(struct buf *out, const struct metrics *m)
{
	int r = head(out, "executions_total", "counter", "Ended executions by verdict.");

	for (int i = 0; r == 0 && i <= SBX_FAULT; i++)
		r = buf_addf(out, "sandbox_executions_total{status=\"%s\"} %llu\n",
			     sbx_status_name((enum sbx_status)i),
			     (unsigned long long)m->verdicts[i]);
	if (r == 0)
		r = head(out, "denials_total", "counter", "Denied operations by kind.");
	for (size_t i = 0; r == 0 && i < METRICS_KINDS && m->denials[i].kind[0]; i++)
		r = buf_addf(out, "sandbox_denials_total{kind=\"%s\"} %llu\n",
			     m->denials[i].kind, (unsigned long long)m->denials[i].count);
	return r;
}

static int pools_text(struct buf *out, const json_t *health)
{
	static const char *const members[] = { "waiting", "running", "target", "forks" };
	json_t *templates = json_object_get(health, "templates");
	const json_t *one;
	size_t index;
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(members) / sizeof(members[0]); i++) {
		char name[40];

		(void)snprintf(name, sizeof(name), "pool_%s", members[i]);
		r = head(out, name, "gauge", "Workers of a template's pool.");
		json_array_foreach(templates, index, one)
		{
			if (r == 0)
				r = buf_addf(out, "sandbox_%s{template=\"%zu\"} %lld\n",
					     name, index,
					     (long long)json_integer_value(
						     json_object_get(one, members[i])));
		}
	}
	return r;
}

int metrics_text(const struct metrics *m, const json_t *health, const json_t *gauges,
		 struct buf *out)
{
	const char *name;
	json_t *value;
	int r = head(out, "build_info", "gauge", "Which build this is.");

	if (r == 0)
		r = buf_addf(out, "sandbox_build_info{version=\"%s\"} 1\n", SBX_VERSION);
	json_object_foreach((json_t *)(uintptr_t)gauges, name, value)
	{
		if (r == 0)
			r = head(out, name, "gauge", "As it is now.");
		if (r == 0)
			r = buf_addf(out, "sandbox_%s %.15g\n", name,
				     json_number_value(value));
	}
	if (r == 0)
		r = requests_text(out, m);
	if (r == 0)
		r = verdicts_text(out, m);
	if (r == 0)
		r = counter(out, "executions_refused_total",
			    "Executions refused while they were set up.", m->refused);
	if (r == 0)
		r = counter(out, "http_connections_total", "Connections taken.",
			    m->connections);
	if (r == 0)
		r = counter(out, "http_connections_cut_total",
			    "Connections ended for being slow.", m->connections_cut);
	if (r == 0)
		r = counter(out, "http_unauthorized_total",
			    "Requests without a known token.", m->unauthorized);
	if (r == 0)
		r = counter(out, "http_misplaced_total",
			    "Requests with a foreign Host or Origin.", m->misplaced);
	if (r == 0)
		r = counter(out, "http_received_bytes_total", "Bytes of bodies received.",
			    m->received_bytes);
	if (r == 0)
		r = counter(out, "http_sent_bytes_total", "Bytes of bodies sent.",
			    m->sent_bytes);
	if (r == 0)
		r = histogram_text(out, "http_request_seconds",
				   "From a request's head to its answer's end.",
				   &m->requests);
	if (r == 0)
		r = histogram_text(out, "execution_queue_seconds",
				   "From a request to its worker.", &m->queue);
	if (r == 0)
		r = histogram_text(out, "execution_setup_seconds",
				   "From the worker to the program's first instruction.",
				   &m->setup);
	if (r == 0)
		r = histogram_text(out, "execution_run_seconds",
				   "From the program's first instruction to its end.",
				   &m->run);
	if (r == 0)
		r = histogram_text(out, "execution_reap_seconds",
				   "From the program's end to the verdict.", &m->reap);
	return r < 0 ? r : pools_text(out, health);
}
