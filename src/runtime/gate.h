/* SPDX-License-Identifier: MIT
 * Between gate.c and trace.c. */
#ifndef SBX_RUNTIME_GATE_H
#define SBX_RUNTIME_GATE_H

#include "runtime/runtime.h"

/* Zygote, from trace_init(): what the gate needs is captured. 0 or -1 with exception. */
int gate_init(void);
/* False: the policy gives no network, so a name that cannot be resolved is a denial. */
bool gate_has_network(void);

/* ---- paths.c ---- */
/* Before the program's own open (opens) or listing of subject: tells the engine if the
 * walls will refuse it. args: the audit event's. Never raises. */
void paths_note(PyObject *subject, PyObject *args, bool opens);

#endif
