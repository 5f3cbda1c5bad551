/* SPDX-License-Identifier: MIT
 * The probes behind the table of walls.c: each does what a jail does, in a child of its
 * own. Any process without threads; may allocate. 0, or -errno; a sentence in detail
 * either way. No child and no descriptor is left. */
#ifndef SBX_JAIL_WALLS_PROBE_H
#define SBX_JAIL_WALLS_PROBE_H

#include <stddef.h>

int probe_user(char *detail, size_t size);
int probe_pid(char *detail, size_t size);
int probe_mount(char *detail, size_t size);
int probe_net(char *detail, size_t size);
int probe_ipc(char *detail, size_t size);
int probe_uts(char *detail, size_t size);
int probe_cgroup(char *detail, size_t size);
int probe_time(char *detail, size_t size);
int probe_proc(char *detail, size_t size);
int probe_caps(char *detail, size_t size);
int probe_landlock(char *detail, size_t size);
int probe_seccomp(char *detail, size_t size);
int probe_rlimits(char *detail, size_t size);
int probe_together(char *detail, size_t size); /* all of them in one child */

#endif
