/* SPDX-License-Identifier: MIT
 * What Prometheus may ask for (text format 0.0.4). Engine; one thread. Names of programs,
 * callers and files are in none of it. */
#ifndef SBX_DAEMON_METRICS_H
#define SBX_DAEMON_METRICS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/engine.h"

#define METRICS_BUCKETS 16u
#define METRICS_ROUTES 96u
#define METRICS_KINDS 32u

struct histogram {
	uint64_t buckets[METRICS_BUCKETS +
			 1]; /* each by itself; the last is what is above */
	uint64_t sum_us;
};

/* Zeroed is empty. */
struct metrics {
	uint64_t connections, connections_cut, unauthorized, misplaced;
	uint64_t received_bytes, sent_bytes;
	struct {
		const char *route;    /* lives as long as the process */
		uint64_t by_class[6]; /* of status; 0: cut before one was known */
	} routes[METRICS_ROUTES];
	struct histogram requests;
	struct histogram queue, setup, run, reap;
	uint64_t verdicts[16]; /* by enum sbx_status */
	uint64_t refused; /* found to be the caller's fault only while it was set up */
	struct {
		char kind[28];
		uint64_t count;
	} denials[METRICS_KINDS]; /* the last stands for all others, too */
};

void metrics_request(struct metrics *m, const char *route, int status, uint64_t us,
		     size_t received, size_t sent);
/* result: NULL: refused. */
void metrics_run(struct metrics *m, const json_t *result,
		 const struct execution_times *times, uint64_t now_us);
/* health: engine_health()'s. gauges: an object of numbers, each a metric "sandbox_NAME". 0,
 * -ENOMEM. */
int metrics_text(const struct metrics *m, const json_t *health, const json_t *gauges,
		 struct buf *out);

#endif
