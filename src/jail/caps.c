/* SPDX-License-Identifier: MIT
 * Purpose: wall: capabilities and no_new_privs (caps.h).
 * Process: worker, zygote and init on their way in; single-threaded. child-safe: system
 *   calls only, by glibc's bare wrapper or raw, since glibc's own capset does not exist
 *   and its broadcasts to threads are not wanted.
 * Trusts: the kernel's read-back, nothing else.
 * Invariants: on success nothing beyond `keep` is in any of the five sets. A capability
 *   that this header does not know is dropped too: the kernel is asked how many there
 *   are. */
#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "jail/caps.h"

#define CAPS_MAX 64

struct caps {
	uint64_t effective, permitted, inheritable;
};

static int fail(struct sbx_err *err, const char *what)
{
	return err_set_plain(err, SBX_AT_WALL, errno, what);
}

static int caps_get(struct caps *ret)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return -1;
	ret->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	ret->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	ret->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	return 0;
}

static int caps_set(const struct caps *caps)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[2] = {
		{ (uint32_t)caps->effective, (uint32_t)caps->permitted,
		  (uint32_t)caps->inheritable },
		{ (uint32_t)(caps->effective >> 32), (uint32_t)(caps->permitted >> 32),
		  (uint32_t)(caps->inheritable >> 32) },
	};

	return (int)syscall(SYS_capset, &head, data);
}

static bool keeps(uint64_t keep, int cap)
{
	return keep >> cap & 1;
}

static int drop_bounding(uint64_t keep, struct sbx_err *err)
{
	int cap, has;

	for (cap = 0; cap < CAPS_MAX; cap++) {
		/* EINVAL: one past the last that this kernel has. */
		has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (has < 0 && errno == EINVAL && cap > CAP_SETPCAP)
			return 0;
		if (has < 0)
			return fail(err, "reading the bounding set");
		if (has == 0 || keeps(keep, cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return fail(err, "dropping a capability from the bounding set");
	}
	return 0;
}

static int check(uint64_t keep, struct sbx_err *err)
{
	struct caps left;
	int cap, has;

	if (caps_get(&left) < 0)
		return fail(err, "capget");
	if ((left.effective | left.permitted) & ~keep || left.inheritable)
		return err_set_plain(err, SBX_AT_WALL, EPERM, "capabilities are left");
	for (cap = 0; cap < CAPS_MAX; cap++) {
		has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (has < 0)
			break;
		if (has > 0 && !keeps(keep, cap))
			return err_set_plain(err, SBX_AT_WALL, EPERM,
					     "the bounding set is not empty");
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) != 0)
			return err_set_plain(err, SBX_AT_WALL, EPERM,
					     "an ambient capability is left");
	}
	return 0;
}

int caps_keep(uint64_t keep, struct sbx_err *err)
{
	struct caps now, want;
	int r;

	/* The bounding set first: dropping from it takes CAP_SETPCAP, which goes with the
	 * rest. */
	r = drop_bounding(keep, err);
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return fail(err, "clearing the ambient set");
	if (caps_get(&now) < 0)
		return fail(err, "capget");
	want = (struct caps){ .effective = now.permitted & keep,
			      .permitted = now.permitted & keep };
	if (caps_set(&want) < 0)
		return fail(err, "capset");
	return check(keep, err);
}

uint64_t caps_effective(void)
{
	struct caps now;

	return caps_get(&now) < 0 ? 0 : now.effective;
}

int caps_no_new_privs(struct sbx_err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(err, "PR_SET_NO_NEW_PRIVS");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set_plain(err, SBX_AT_WALL, EPERM,
				     "no_new_privs did not stay");
	return 0;
}
