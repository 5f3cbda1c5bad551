/* SPDX-License-Identifier: MIT
 * What a policy grants of the host's files: who opens it, and how it gets into a jail.
 * Started as root: the broker, with the caller's rights, when the request comes; else the
 * jailer, which has them itself. Engine. */
#ifndef SBX_ENGINE_GRANTS_H
#define SBX_ENGINE_GRANTS_H

#include "engine/box.h"

/* At most these: what the command offers and what the engine asks for. */
static inline unsigned grants_flags(const struct sbx_policy *policy, bool writable)
{
	return (writable ? TREE_WRITABLE : 0) |
	       (policy->degraded == POLICY_ALLOW ? TREE_PLAIN : 0) |
	       (policy->allow_subprocess ? TREE_EXEC : 0);
}

/* Checks what the box's policy grants, and has it opened where the caller is at hand only
 * now; or takes over what the box before it had. Fills box->grants, in the order of
 * mounting. 0 or -errno. */
int grants_resolve(struct box *box, const struct box_spec *spec, struct sbx_err *err);
/* Puts them into the jail of box->worker. Where the jailer opens them, the last one that
 * comes seals the jail. */
int grants_open(struct box *box, struct sbx_err *err);
void grants_free(struct box *box);

#endif
