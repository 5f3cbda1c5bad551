/* SPDX-License-Identifier: MIT
 * Wall: seccomp, the child's half: installs a compiled filter. child-safe. */
#ifndef SBX_JAIL_SECCOMP_H
#define SBX_JAIL_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>

#include "sbx.h"

/* code: struct sock_filter[], len bytes. With listener the descriptor of user
 * notification comes back in
 * *ret_listener (close-on-exec), else -1. no_new_privs must be set. */
int seccomp_apply(const void *code, size_t len, bool listener, int *ret_listener,
		  struct sbx_err *err);

#endif
