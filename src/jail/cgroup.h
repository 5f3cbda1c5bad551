/* SPDX-License-Identifier: MIT
 * Wall: cgroups, one interface over v2, v1 (and hybrid) and none. The host's part (base
 * group, migration) runs in the broker, which has the rights; the jails' part in the
 * engine, which owns the subtree that the broker gave it. Parses only files of the
 * kernel's own. Nothing of it is ever mounted inside a jail. */
#ifndef SBX_JAIL_CGROUP_H
#define SBX_JAIL_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sbx.h"

enum cgroup_version { CGROUP_NONE = 0, CGROUP_V1 = 1, CGROUP_V2 = 2 };
#define CGROUP_MEMORY 1u
#define CGROUP_CPU 2u
#define CGROUP_CPUACCT 4u
#define CGROUP_PIDS 8u

/* Where jails' groups are made. Fixed size: the broker's first packet to the engine. */
struct cgroup_host {
	uint32_t version;     /* enum cgroup_version */
	uint32_t controllers; /* CGROUP_* that are there */
	char memory
		[512]; /* base directory by controller ("" if missing); the same path four times on v2 */
	char cpu[512];
	char cpuacct[512];
	char pids[512];
};

/* -- broker -- */
/* Makes `sandbox-<id>` below the broker's own group in each hierarchy (v2: in a delegated
 * subtree, with the controllers enabled; the broker's own processes move to a leaf beside
 * it where v2 demands it), given to uid/gid owner. Where nothing can be made: version
 * NONE, and why in *why (NUL-terminated sentence for doctor). Never fails otherwise. Also
 * sweeps groups `sandbox-<id>` whose instance is gone (the abstract socket or flock that
 * names a live instance is the caller's: alive(arg, id) says so; NULL: sweep nothing). */
void cgroup_host_make(struct cgroup_host *ret, const char *id, uid_t owner,
		      bool (*alive)(void *arg, const char *id), void *arg, char why[256]);
/* Moves a process (all its threads) into jail `index`'s group in every hierarchy. */
int cgroup_enter(const struct cgroup_host *host, uint32_t index, pid_t pid,
		 struct sbx_err *err);
/* Kills what is left inside, removes every jail's group and the base. Waits up to 2 s. 0
 * or -errno. */
int cgroup_host_remove(const struct cgroup_host *host);

/* -- engine: the group `j<index>` below the base -- */
int cgroup_make(const struct cgroup_host *host, uint32_t index, struct sbx_err *err);
/* -EBUSY, and nothing changed, if more than that is charged now. Swap is not to be had
 * beside it. */
int cgroup_set_memory(const struct cgroup_host *host, uint32_t index, uint64_t bytes,
		      struct sbx_err *err);
/* 0 or less is -EINVAL; 0.1 % is the smallest that the kernel keeps, less becomes that.
 * -ENOTSUP, as in the two beside it, where the controller is missing. */
int cgroup_set_cpu(const struct cgroup_host *host, uint32_t index,
		   double percent_of_a_core, struct sbx_err *err);
int cgroup_set_processes(const struct cgroup_host *host, uint32_t index, uint32_t count,
			 struct sbx_err *err);

struct cgroup_usage {
	uint64_t memory_bytes,
		memory_peak_bytes; /* charged now and at most (v2 before 5.19 has no peak: 0) */
	uint64_t cpu_us;
	uint32_t processes, processes_peak; /* v1, and v2 before 6.?: peak may be 0 */
	uint64_t oom_kills,
		memory_refused; /* memory.events / memory.oom_control, memory.failcnt */
	uint64_t processes_refused; /* pids.events max */
};
/* What is not there reads as 0. 0 or -errno if the group is gone. */
int cgroup_usage(const struct cgroup_host *host, uint32_t index,
		 struct cgroup_usage *ret);
/* Lifts the CPU quota first, so that dying takes no turns. v2 cgroup.kill, else one sweep
 * of SIGKILL by pidfd. */
int cgroup_kill(const struct cgroup_host *host, uint32_t index);
int cgroup_remove(const struct cgroup_host *host,
		  uint32_t index); /* 0, -EBUSY while processes are in it */

const char *cgroup_name(
	const struct cgroup_host *host); /* "cgroup2", "cgroup1", "none" */

/* -- what cgroup.c, cgroup_host.c and their tests share -- */
#define CGROUP_CONTROLLERS 4
extern const char *const cgroup_controller_names
	[CGROUP_CONTROLLERS]; /* "memory", "cpu", "cpuacct", "pids" */
#define CGROUP_PATH 512

/* Where this process is in each hierarchy, by absolute path; "" where there is none. */
struct cgroup_place {
	char v2_mount[CGROUP_PATH]; /* mount point of the unified hierarchy */
	char v2_own[CGROUP_PATH];   /* own group below it, "" or "/a/b" */
	char v1_own[CGROUP_CONTROLLERS]
		   [CGROUP_PATH]; /* own group, mount point included */
};
/* From the texts of /proc/self/mountinfo and /proc/self/cgroup. Only hierarchies beneath
 * `top` count (no trailing slash; the engine is shown /sys/fs/cgroup and nothing else).
 * Malformed lines are passed over. */
void cgroup_place_parse(const char *mountinfo, const char *self_cgroup, const char *top,
			struct cgroup_place *ret);
/* cgroup_host_make() with the place given. */
void cgroup_host_make_at(struct cgroup_host *ret, const struct cgroup_place *place,
			 const char *id, uid_t owner,
			 bool (*alive)(void *arg, const char *id), void *arg,
			 char why[256]);
/* The different directories among host's four, in ret; how many. Valid as long as
 * host. */
size_t cgroup_bases(const struct cgroup_host *host, const char *ret[CGROUP_CONTROLLERS]);
/* Kills every process of one group, by cgroup.kill (5.14; with what is below it) or one
 * sweep by pidfd. How many signals were sent (1 with cgroup.kill), or -errno. */
int cgroup_kill_group(const char *dir);

#endif
