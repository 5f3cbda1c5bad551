/* SPDX-License-Identifier: MIT
 * Wall: capabilities and no_new_privs. child-safe, by raw system calls. */
#ifndef SBX_JAIL_CAPS_H
#define SBX_JAIL_CAPS_H

#include <stdint.h>

#include "sbx.h"

/* Keeps the capabilities of the mask (1ull << CAP_*) in permitted and effective; empties
 * inheritable and ambient; drops all others from the bounding set (needs CAP_SETPCAP;
 * those kept stay in it). Reads back and fails if more than keep is left. */
int caps_keep(uint64_t keep, struct sbx_err *err);
uint64_t caps_effective(void);              /* 1ull << CAP_*; 0 if it cannot be told */
int caps_no_new_privs(struct sbx_err *err); /* prctl(2) PR_SET_NO_NEW_PRIVS, read back */

#endif
