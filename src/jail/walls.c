/* SPDX-License-Identifier: MIT
 * Purpose: the table of walls (walls.h). How each is tried is walls_probe.c's.
 * Process: engine (at its start) and command (`sandbox doctor`), no threads yet. Trusts:
 * the kernel.
 * Invariants: every WALL_* bit has exactly one row. */
#include "jail/walls.h"
#include "jail/walls_probe.h"
#include "zygote/messages.h"

#define REMEDY_USERNS                                                                                        \
	"allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "                        \
	"kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 23.10 and later), user.max_user_namespaces " \
	"above 0; in a container: docker run --security-opt seccomp=unconfined --security-opt "              \
	"apparmor=unconfined, or start it with --cap-add SYS_ADMIN"
#define REMEDY_USERNS_ZH                                                                                   \
	"允许用户命名空间：sysctl kernel.unprivileged_userns_clone=1（Debian），"              \
	"kernel.apparmor_restrict_unprivileged_userns=0（Ubuntu 23.10 及更新版本），"              \
	"user.max_user_namespaces 大于 0；在容器中：docker run --security-opt seccomp=unconfined " \
	"--security-opt apparmor=unconfined，或以 --cap-add SYS_ADMIN 启动"
#define REMEDY_WITH(option, version) \
	"a kernel from " version " on with " option "; and what the user namespace needs"
#define REMEDY_WITH_ZH(option, version) \
	version " 或更新、启用 " option " 的内核；并满足用户命名空间的条件"

const struct wall walls[] = {
	{ "user namespace", "用户命名空间", WALL_USER, "isolation",
	  "clone3(CLONE_NEWUSER), uid_map, a capability used", REMEDY_USERNS,
	  REMEDY_USERNS_ZH, probe_user },
	{ "pid namespace", "进程命名空间", WALL_PID, "isolation", "clone3(CLONE_NEWPID)",
	  REMEDY_WITH("CONFIG_PID_NS", "3.8"), REMEDY_WITH_ZH("CONFIG_PID_NS", "3.8"),
	  probe_pid },
	{ "mount namespace", "挂载命名空间", WALL_MOUNT, "filesystem",
	  "clone3(CLONE_NEWNS), tmpfs, pivot_root",
	  REMEDY_WITH(
		  "tmpfs",
		  "3.8") "; where AppArmor or SELinux refuse mounts: docker run --security-opt "
			 "apparmor=unconfined",
	  REMEDY_WITH_ZH(
		  "tmpfs",
		  "3.8") "；若 AppArmor 或 SELinux 拒绝挂载：docker run --security-opt "
			 "apparmor=unconfined",
	  probe_mount },
	{ "network namespace", "网络命名空间", WALL_NET, "network",
	  "clone3(CLONE_NEWNET), connect", REMEDY_WITH("CONFIG_NET_NS", "3.8"),
	  REMEDY_WITH_ZH("CONFIG_NET_NS", "3.8"), probe_net },
	{ "ipc namespace", "IPC 命名空间", WALL_IPC, "isolation", "clone3(CLONE_NEWIPC)",
	  REMEDY_WITH("CONFIG_IPC_NS", "3.8"), REMEDY_WITH_ZH("CONFIG_IPC_NS", "3.8"),
	  probe_ipc },
	{ "uts namespace", "UTS 命名空间", WALL_UTS, "isolation",
	  "clone3(CLONE_NEWUTS), sethostname", REMEDY_WITH("CONFIG_UTS_NS", "3.8"),
	  REMEDY_WITH_ZH("CONFIG_UTS_NS", "3.8"), probe_uts },
	{ "cgroup namespace", "cgroup 命名空间", WALL_CGROUP, "isolation",
	  "clone3(CLONE_NEWCGROUP), /proc/self/cgroup",
	  REMEDY_WITH("CONFIG_CGROUPS", "4.6"), REMEDY_WITH_ZH("CONFIG_CGROUPS", "4.6"),
	  probe_cgroup },
	{ "time namespace", "时间命名空间", WALL_TIME, "isolation",
	  "unshare(CLONE_NEWTIME), timens_offsets", REMEDY_WITH("CONFIG_TIME_NS", "5.6"),
	  REMEDY_WITH_ZH("CONFIG_TIME_NS", "5.6"), probe_time },
	{ "private /proc", "私有 /proc", WALL_PROC, "isolation",
	  "fsopen(proc), subset=pid",
	  "a kernel from 5.8 on; in a container the host's /proc has to be unmasked: docker run --security-opt "
	  "systempaths=unconfined (podman: --security-opt unmask=ALL)",
	  "5.8 或更新的内核；在容器中须取消对 /proc 的遮蔽：docker run --security-opt systempaths=unconfined"
	  "（podman：--security-opt unmask=ALL）",
	  probe_proc },
	{ "capabilities", "权能", WALL_CAPS, "privileges",
	  "capset, PR_CAPBSET_DROP, no_new_privs",
	  "dropping the bounding set takes a user namespace, or a start as root with CAP_SETPCAP; and what the user "
	  "namespace needs",
	  "清空权能边界集需要用户命名空间，或以带 CAP_SETPCAP 的 root 启动；并满足用户命名空间的条件",
	  probe_caps },
	{ "landlock", "Landlock", WALL_LANDLOCK, "filesystem",
	  "landlock_restrict_self, open",
	  "a kernel from 5.13 on with CONFIG_SECURITY_LANDLOCK, and landlock in the list of the boot parameter lsm=; "
	  "in a container a seccomp profile that allows landlock_*",
	  "5.13 或更新、启用 CONFIG_SECURITY_LANDLOCK 的内核，且启动参数 lsm= 的列表含 landlock；"
	  "在容器中须用允许 landlock_* 的 seccomp 配置",
	  probe_landlock },
	{ "seccomp", "seccomp", WALL_SECCOMP, "syscalls",
	  "SECCOMP_SET_MODE_FILTER, SECCOMP_RET_USER_NOTIF",
	  "a kernel from 5.0 on with CONFIG_SECCOMP_FILTER; in a container a seccomp profile that allows seccomp(2) and "
	  "has no notification of its own",
	  "5.0 或更新、启用 CONFIG_SECCOMP_FILTER 的内核；在容器中须用允许 seccomp(2)、且自身不使用用户通知的 seccomp 配置",
	  probe_seccomp },
	{ "rlimits", "资源限制", WALL_RLIMITS, "open_files", "setrlimit, open",
	  "a seccomp profile of the container that allows prlimit64(2)",
	  "容器的 seccomp 配置须允许 prlimit64(2)", probe_rlimits },
};
const size_t wall_count = sizeof(walls) / sizeof(walls[0]);

unsigned walls_standing(void)
{
	char detail[512];
	unsigned standing = 0;
	size_t i;

	if (probe_together(detail, sizeof(detail)) == 0)
		return WALL_ALL;
	for (i = 0; i < wall_count; i++)
		if (walls[i].probe(detail, sizeof(detail)) == 0)
			standing |= walls[i].bit;
	return standing;
}
