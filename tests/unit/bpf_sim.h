/* SPDX-License-Identifier: MIT
 * A simulator of seccomp filters: classic BPF over struct seccomp_data, and the kernel's
 * own rules for what is a valid program (only forward jumps, every path ends in a return,
 * the subset of instructions that seccomp takes). */
#ifndef SBX_TESTS_BPF_SIM_H
#define SBX_TESTS_BPF_SIM_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool bpf_sim_valid(const struct sock_filter *code, size_t count);
/* code is valid. *ret_steps (may be NULL): instructions taken. */
uint32_t bpf_sim_run(const struct sock_filter *code, size_t count,
		     const struct seccomp_data *data, size_t *ret_steps);
/* What the kernel finds out at load (5.11): allowed without a look at an argument, so
 * that no filter runs for it. */
bool bpf_sim_always_allowed(const struct sock_filter *code, size_t count, uint32_t arch,
			    int nr);

#endif
