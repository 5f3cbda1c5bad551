/* SPDX-License-Identifier: MIT
 * Purpose: wall: seccomp, installing a compiled filter (seccomp.h). What it says is
 * filter.c's.
 * Process: worker, zygote, engine; single-threaded at that point. child-safe.
 * Trusts: the code's bytes, which come from the engine; the kernel checks that they are a
 * valid program.
 * Invariants: it is on, or an error comes back; nothing is read back afterwards, for the
 * filter may refuse that. */
#include <errno.h>
#include <linux/filter.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/kernel.h"
#include "jail/seccomp.h"

int seccomp_apply(const void *code, size_t len, bool listener, int *ret_listener,
		  struct sbx_err *err)
{
	struct sock_fprog program;
	unsigned long flags = 0;
	long r;

	if (!code || len == 0 || len % sizeof(struct sock_filter) != 0 ||
	    len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return err_set_plain(err, SBX_AT_WALL, EINVAL,
				     "malformed seccomp filter");
	program.len = (unsigned short)(len / sizeof(struct sock_filter));
	program.filter = (struct sock_filter *)code;
	/* WAIT_KILLABLE_RECV (5.19): once a call was taken by the supervisor no signal of
	 * the program's own interrupts it, so that one call is judged once. */
	if (listener)
		flags = SECCOMP_FILTER_FLAG_NEW_LISTENER |
			SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (r < 0 && errno == EINVAL && listener)
		r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (r < 0)
		return err_set_plain(err, SBX_AT_WALL, errno,
				     "installing the seccomp filter");
	/* Born close-on-exec. */
	*ret_listener = listener ? (int)r : -1;
	return 0;
}
