/* SPDX-License-Identifier: MIT
 * What the engine sees of the machine when it was started as root: a mount namespace of
 * its own with the libraries that it runs on, /proc, the cgroup file systems, the five
 * device nodes, and nothing else. */
#ifndef SBX_DAEMON_VIEW_H
#define SBX_DAEMON_VIEW_H

#include "sbx.h"

#define VIEW_JOURNAL "/journal"

/* Called as root in the process that becomes the engine, before it drops to its own
 * uid. journal: a mount to be shown at VIEW_JOURNAL, or -1. */
int view_enter(int journal, struct sbx_err *err);

#endif
