/* SPDX-License-Identifier: MIT
 * What the tests of the seccomp filters share. */
#ifndef SBX_TESTS_FILTER_HELP_H
#define SBX_TESTS_FILTER_HELP_H

#include <errno.h>
#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bpf_sim.h"
#include "jail/filter_table.h"
#include "zygote/messages.h"

#define HIGH 0xdead000000000000ull /* bits that a kernel's int never sees */
#define ARGS(...)           \
	{                   \
		__VA_ARGS__ \
	}
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { NOTIFY = -1, KILL = -2, YES = 0 }; /* else an errno */

static inline const struct sock_filter *code_of(const struct buf *b)
{
	return (const struct sock_filter *)(const void *)b->data;
}

static inline uint32_t simulate(const struct buf *b, uint32_t arch, uint32_t nr,
				const uint64_t args[6])
{
	struct seccomp_data data = { .nr = (int)nr, .arch = arch };

	memcpy(data.args, args, sizeof(data.args));
	return bpf_sim_run(code_of(b), b->len / sizeof(struct sock_filter), &data, NULL);
}

/* As YES, an errno, NOTIFY or KILL; a trace is what the kernel makes of it: ENOSYS. */
static inline int verdict(const struct buf *b, uint32_t nr, const uint64_t args[6])
{
	uint32_t ret = simulate(b, AUDIT_ARCH_X86_64, nr, args);

	switch (ret & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
		return YES;
	case SECCOMP_RET_ERRNO:
		return (int)(ret & SECCOMP_RET_DATA);
	case SECCOMP_RET_USER_NOTIF:
		return NOTIFY;
	case SECCOMP_RET_TRACE:
		return ENOSYS;
	case SECCOMP_RET_KILL_PROCESS:
		return KILL;
	default:
		return 9999;
	}
}

static inline struct buf worker(unsigned flags, bool supervised)
{
	struct buf b = { 0 };
	struct sbx_err err = { 0 };

	assert_int_equal(filter_worker(flags, supervised, &b, &err), 0);
	assert_true(bpf_sim_valid(code_of(&b), b.len / sizeof(struct sock_filter)));
	return b;
}

static inline struct buf inner(bool engine)
{
	struct buf b = { 0 };
	struct sbx_err err = { 0 };

	assert_int_equal(engine ? filter_engine(&b, &err) : filter_zygote(&b, &err), 0);
	assert_true(bpf_sim_valid(code_of(&b), b.len / sizeof(struct sock_filter)));
	return b;
}

#endif
