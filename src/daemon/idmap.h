/* SPDX-License-Identifier: MIT
 * A directory as somebody else's: an id-mapped copy of its mount. Broker; root. */
#ifndef SBX_DAEMON_IDMAP_H
#define SBX_DAEMON_IDMAP_H

#include <sys/types.h>

#include "sbx.h"

/* A throwaway user namespace, for MOUNT_ATTR_IDMAP: what is owner's and group's on disk is uid's
 * (and the group's of the same number) in the mount. Its descriptor, or -errno. Any thread. */
int idmap_namespace(uid_t owner, gid_t group, uid_t uid);
/* What belongs to dir's owner outside belongs to uid (and the group of the same number) in the
 * mount that *ret_tree is: writable, without set-id files, devices or programs; nothing is mounted
 * in it. -EINVAL where the file system refuses. */
int idmap_tree(int dir, uid_t uid, int *ret_tree, struct sbx_err *err);

#endif
