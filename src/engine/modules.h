/* SPDX-License-Identifier: MIT
 * What a policy's allowed_modules mean for the template that its programs are forked
 * from: which preloads it has, and which packages its jails show. Plain data. Engine. */
#ifndef SBX_ENGINE_MODULES_H
#define SBX_ENGINE_MODULES_H

#include "policy/policy.h"

#define MODULES_VIEW_MAX \
	3072u /* it is one argument of the zygote's, beside the preloads */

/* The text of template_spec.view for a policy, malloc'ed; NULL (with 0) where nothing is
 * to be hidden. Policies that hide the same have the same text, so that they share a
 * template: the standard library's own names are left out of it. */
int modules_view(const struct sbx_policy *policy, char **ret, struct sbx_err *err);
/* Whether the policy's programs may find this preload (with or without '?') loaded. */
bool modules_preloads(const struct sbx_policy *policy, const char *preload);

#endif
