/* SPDX-License-Identifier: MIT
 * Pid 1 of a jail: builds the jail's root, holds its namespaces open for the worker,
 * reaps orphans, and keeps the limits where no cgroup does. Runs in a fork of the jailer
 * and never returns. */
#ifndef SBX_JAIL_INIT_H
#define SBX_JAIL_INIT_H

#include "jail/root.h"
#include "zygote/messages.h"

struct init_start {
	const struct root *root;
	const struct jailer_request *request; /* JAILER_JAIL */
	int control_fd; /* struct init_request in, struct init_report out */
	int go_fd;      /* a byte arrives once the ids are mapped */
};
_Noreturn void init_main(const struct init_start *start);

#endif
