/* SPDX-License-Identifier: MIT
 * Purpose: the field table, from which parsing, checks, ceilings, printing and
 *   docs/policy.md are derived, and the life of struct sbx_policy.
 * Process: engine and command; any thread. No input is read here.
 * Invariants: every field of struct sbx_policy has one row, in the struct's order;
 *   check_interval alone has none of the struct's bytes. A default lies within its own
 *   row's bounds (tests/unit/test_policy.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/internal.h"

static const char *const degraded_choices[] = { "refuse", "allow", NULL };

#define AT(field) offsetof(struct sbx_policy, field)
#define WEEK_S \
	604800.0 /* longer work belongs into a service of its own; keeps milliseconds far from any overflow */
#define TIB_MB 1048576.0 /* MiB; keeps bytes far from any overflow */

const struct policy_field policy_fields[] = {
	{ .name = "max_memory_mb",
	  .type = POLICY_INT,
	  .offset = AT(max_memory_mb),
	  .min = 1,
	  .max = TIB_MB,
	  .unit = "MiB",
	  .permissive = 1,
	  .meaning =
		  "Memory that the program itself uses; the warm interpreter that it was forked from is not charged.",
	  .meaning_zh = "程序自身可使用的内存；它由之派生的预热解释器不计入。" },
	/* A cgroup gives CPU in slices of at least 1 ms in 100 ms, that is 1 %. 1,024
	 * cores at most. */
	{ .name = "max_cpu_percent",
	  .type = POLICY_NUMBER,
	  .offset = AT(max_cpu_percent),
	  .min = 1,
	  .max = 100 * 1024,
	  .unit = "%",
	  .permissive = 1,
	  .meaning =
		  "Share of one core, 100 is one full core and 200 two; kept by quota: the program slows down, it "
		  "is not ended.",
	  .meaning_zh =
		  "单个核心的占比，100 表示一个完整核心，200 表示两个；按配额限制：程序变慢，但不会被终止。" },
	{ .name = "max_cpu_time",
	  .type = POLICY_NUMBER,
	  .offset = AT(max_cpu_time),
	  .min = 0.001,
	  .max = WEEK_S,
	  .unit = "s",
	  .permissive = 1,
	  .zero_is_none = true,
	  .meaning =
		  "CPU time after which the program is ended (verdict `cpu`); 0 is no such limit.",
	  .meaning_zh =
		  "累计 CPU 时间上限，超过即终止（结论为 `cpu`）；0 表示不设此限制。" },
	{ .name = "max_execution_time",
	  .type = POLICY_NUMBER,
	  .offset = AT(max_execution_time),
	  .min = 0.001,
	  .max = WEEK_S,
	  .unit = "s",
	  .permissive = 1,
	  .meaning =
		  "Wall time for one execution, fractions allowed (verdict `timeout`).",
	  .meaning_zh = "单次执行的实际时间上限，可为小数（结论为 `timeout`）。" },
	/* The kernel itself has at most 4,194,304 (PID_MAX_LIMIT). */
	{ .name = "max_processes",
	  .type = POLICY_INT,
	  .offset = AT(max_processes),
	  .min = 1,
	  .max = 4194304,
	  .unit = "",
	  .permissive = 1,
	  .meaning = "Threads and processes together, the program's first one included.",
	  .meaning_zh = "线程与进程的总数上限，包括程序的第一个。" },
	/* 0 would end a program at its first byte, which nobody means by it. */
	/* The engine holds it as bytes, as a result and as an answer, and makes these on its
	 * loop: 32 MiB of each stream keep everybody else waiting for a second at worst. */
	{ .name = "max_output_bytes",
	  .type = POLICY_INT,
	  .offset = AT(max_output_bytes),
	  .min = 1,
	  .max = 33554432,
	  .unit = "bytes",
	  .permissive = 1,
	  .meaning =
		  "How much of stdout and of stderr is kept: head and tail survive, the middle is dropped and the "
		  "run goes on; beyond 64 times this it ends (verdict `output`).",
	  .meaning_zh =
		  "标准输出与标准错误各自保留的字节数：保留首尾、丢弃中间，程序继续运行；超过其 64 倍则终止（结论为 "
		  "`output`）。" },
	/* 0 would be a tmpfs without any bound (tmpfs(5)). */
	{ .name = "max_disk_mb",
	  .type = POLICY_INT,
	  .offset = AT(max_disk_mb),
	  .min = 1,
	  .max = TIB_MB,
	  .unit = "MiB",
	  .permissive = 1,
	  .meaning =
		  "Private tmpfs for /tmp, /dev/shm and the working directory, all together, with a limit of inodes "
		  "(verdict `disk`).",
	  .meaning_zh =
		  "私有 tmpfs（/tmp、/dev/shm 与工作目录合计）的大小，并限制 inode 数量（结论为 `disk`）。" },
	/* Below 16 an interpreter cannot import; 1,048,576 is the kernel's own default
	 * bound (fs.nr_open). */
	{ .name = "max_open_files",
	  .type = POLICY_INT,
	  .offset = AT(max_open_files),
	  .min = 16,
	  .max = 1048576,
	  .unit = "",
	  .permissive = 1,
	  .meaning = "File descriptors of one process.",
	  .meaning_zh = "单个进程可打开的文件描述符数量。" },
	{ .name = "allow_file_operations",
	  .type = POLICY_BOOL,
	  .offset = AT(allow_file_operations),
	  .unit = "",
	  .permissive = 1,
	  .meaning =
		  "The program's own `open`, `listdir` and their kin. Libraries may use the private tmpfs either way, "
		  "and files given with the request are always readable.",
	  .meaning_zh =
		  "是否允许程序自行调用 `open`、`listdir` 等文件操作。无论如何，库都可使用私有 "
		  "tmpfs，随请求提供的文件始终可读。" },
	/* Each is a mount in the jail. */
	{ .name = "allowed_directories",
	  .type = POLICY_LIST,
	  .offset = AT(allowed_directories),
	  .min = 0,
	  .max = 64,
	  .unit = "",
	  .permissive = 1,
	  .check = policy_item_directory,
	  .covers = policy_covers_directory,
	  .meaning =
		  "Directories of the host: `PATH` (as `PATH:rw`), `PATH:ro` or `PATH:rw`; relative to the caller's "
		  "working directory.",
	  .meaning_zh =
		  "可访问的宿主机目录：`PATH`（等同 `PATH:rw`）、`PATH:ro` 或 `PATH:rw`；相对路径以调用者的工作目录为准。" },
	{ .name = "network_access",
	  .type = POLICY_BOOL,
	  .offset = AT(network_access),
	  .unit = "",
	  .permissive = 1,
	  .meaning = "May open network connections at all.",
	  .meaning_zh = "是否允许建立网络连接。" },
	{ .name = "allowed_hosts",
	  .type = POLICY_LIST,
	  .offset = AT(allowed_hosts),
	  .min = 0,
	  .max = 1024,
	  .unit = "",
	  .permissive = 1,
	  .check = policy_item_host,
	  .covers = policy_covers_host,
	  .meaning =
		  "With network access, where to: `host`, `*.host`, `host:port`, an address or a CIDR block; an empty "
		  "list denies all, `*` is every public address; loopback, link-local, private and metadata "
		  "addresses need naming, as addresses.",
	  .meaning_zh =
		  "允许联网时可连接的目标：`host`、`*.host`、`host:port`、地址或 CIDR 网段；空列表全部拒绝，`*` "
		  "表示所有公网地址；回环、链路本地、私有及元数据地址须以地址形式明确列出。" },
	{ .name = "allow_imports",
	  .type = POLICY_BOOL,
	  .offset = AT(allow_imports),
	  .unit = "",
	  .permissive = 1,
	  .meaning = "May import modules at all.",
	  .meaning_zh = "是否允许导入模块。" },
	{ .name = "allowed_modules",
	  .type = POLICY_LIST,
	  .offset = AT(allowed_modules),
	  .min = 0,
	  .max = 4096,
	  .unit = "",
	  .permissive = 1,
	  .check = policy_item_module,
	  .covers = policy_covers_module,
	  .meaning =
		  "Top-level modules that the program may import; `*` is all; a dotted name counts as its top-level "
		  "part.",
	  .meaning_zh =
		  "程序可导入的顶层模块；`*` 表示全部；带点的名称按其顶层部分计算。" },
	{ .name = "allow_subprocess",
	  .type = POLICY_BOOL,
	  .offset = AT(allow_subprocess),
	  .unit = "",
	  .permissive = 1,
	  .meaning = "May execute other programs.",
	  .meaning_zh = "是否允许执行其他程序。" },
	/* They become arguments of the template's interpreter, in one fixed-size
	 * message. */
	{ .name = "preload",
	  .type = POLICY_LIST,
	  .offset = AT(preload),
	  .min = 0,
	  .max = 128,
	  .unit = "",
	  .check = policy_item_preload,
	  .meaning =
		  "Modules imported in the template before any fork; a name that ends in `?` is skipped where it is "
		  "not installed.",
	  .meaning_zh =
		  "派生之前在模板中预先导入的模块；以 `?` 结尾的名称若未安装则跳过。" },
	{ .name = "python",
	  .type = POLICY_STRING,
	  .offset = AT(python),
	  .min = 0,
	  .max = 1023,
	  .unit = "",
	  .check = policy_item_python,
	  .meaning =
		  "Interpreter as an absolute path, 3.10 or newer, virtual environments included; empty is the "
		  "default: /usr/bin/python3 if new enough, else the first on PATH.",
	  .meaning_zh =
		  "解释器的绝对路径，3.10 或更新版本，支持虚拟环境；为空表示默认：/usr/bin/python3（版本足够新时），否则为 "
		  "PATH 上的第一个。" },
	{ .name = "environment",
	  .type = POLICY_MAP,
	  .offset = AT(environment),
	  .min = 0,
	  .max = 1024,
	  .unit = "",
	  .check = policy_item_variable,
	  .meaning = "Environment variables; nothing is inherited.",
	  .meaning_zh = "环境变量；不继承任何变量。" },
	{ .name = "degraded",
	  .type = POLICY_CHOICE,
	  .offset = AT(degraded),
	  .choices = degraded_choices,
	  .unit = "",
	  .permissive = 1,
	  .meaning =
		  "What to do when a wall or limit cannot stand here: `refuse` the run, or `allow` it without.",
	  .meaning_zh =
		  "当某道隔离或限制在本机无法建立时：`refuse` 拒绝运行，或 `allow` 在缺少它的情况下运行。" },
	{ .name = "check_interval",
	  .type = POLICY_NUMBER,
	  .min = 0,
	  .max = WEEK_S,
	  .unit = "s",
	  .ignored = true,
	  .meaning = "Of the first version; accepted and ignored.",
	  .meaning_zh = "第一版的字段；接受但忽略。" },
};
const size_t policy_field_count = sizeof(policy_fields) / sizeof(policy_fields[0]);

const struct policy_field *policy_field_find(const char *name)
{
	for (size_t i = 0; i < policy_field_count; i++)
		if (strcmp(policy_fields[i].name, name) == 0)
			return &policy_fields[i];
	return NULL;
}

void policy_list_clear(struct policy_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct policy_list){ 0 };
}

int policy_list_add(struct policy_list *list, const char *item)
{
	char **grown, *copy;

	copy = strdup(item);
	if (!copy)
		return -ENOMEM;
	grown = reallocarray(list->items, list->count + 1, sizeof(*grown));
	if (!grown) {
		free(copy);
		return -ENOMEM;
	}
	grown[list->count++] = copy;
	list->items = grown;
	return 0;
}

static int list_copy(struct policy_list *ret, const struct policy_list *from)
{
	*ret = (struct policy_list){ 0 };
	for (size_t i = 0; i < from->count; i++)
		if (policy_list_add(ret, from->items[i]) < 0)
			return -ENOMEM;
	return 0;
}

static void list_add_or_abort(struct policy_list *list, const char *item)
{
	if (policy_list_add(list, item) < 0)
		abort();
}

void policy_init(struct sbx_policy *policy)
{
	*policy = (struct sbx_policy){
		.max_memory_mb = 100,
		.max_cpu_percent = 50,
		.max_cpu_time = 0,
		.max_execution_time = 5,
		.max_processes = 32,
		.max_output_bytes = 1 << 20,
		.max_disk_mb = 64,
		.max_open_files = 256,
		.allow_imports = true,
		.degraded = POLICY_REFUSE,
	};
	list_add_or_abort(&policy->allowed_hosts, "*");
	list_add_or_abort(&policy->allowed_modules, "math");
	list_add_or_abort(&policy->allowed_modules, "random");
	policy->python = strdup("");
	if (!policy->python)
		abort();
}

void policy_widest(struct sbx_policy *policy)
{
	policy_init(policy);
	for (size_t i = 0; i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];
		void *at = policy_at(policy, field);

		if (field->ignored || !field->permissive)
			continue;
		switch (field->type) {
		case POLICY_INT:
			*(int64_t *)at = (int64_t)(field->permissive > 0 ? field->max
									 : field->min);
			break;
		case POLICY_NUMBER:
			*(double *)at = field->zero_is_none     ? 0
					: field->permissive > 0 ? field->max
								: field->min;
			break;
		case POLICY_BOOL:
			*(bool *)at = field->permissive > 0;
			break;
		case POLICY_CHOICE:
			*(int *)at = 0;
			while (field->permissive > 0 && field->choices[*(int *)at + 1])
				*(int *)at += 1;
			break;
		case POLICY_LIST:
		case POLICY_MAP:
		case POLICY_STRING: /* lists by name below: what all is differs from one to the next */
			break;
		}
	}
	list_add_or_abort(&policy->allowed_directories, "/:rw");
	/* "*" is the public addresses only */
	list_add_or_abort(&policy->allowed_hosts, "localhost");
	list_add_or_abort(&policy->allowed_hosts, "*.localhost");
	list_add_or_abort(&policy->allowed_hosts, "0.0.0.0/0");
	list_add_or_abort(&policy->allowed_hosts, "::/0");
	policy_list_clear(&policy->allowed_modules);
	list_add_or_abort(&policy->allowed_modules, "*");
}

int policy_copy(struct sbx_policy *ret, const struct sbx_policy *from)
{
	struct sbx_policy copy = *from;
	int r = 0;

	/* nothing of *from may be freed when the copy breaks off half-way */
	for (size_t i = 0; i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];

		if (field->ignored)
			continue;
		if (field->type == POLICY_LIST || field->type == POLICY_MAP) {
			if (list_copy(policy_at(&copy, field),
				      policy_at_const(from, field)) < 0)
				r = -ENOMEM;
		} else if (field->type == POLICY_STRING) {
			const char *text = *(char *const *)policy_at_const(from, field);
			char *dup = strdup(text ? text : "");

			*(char **)policy_at(&copy, field) = dup;
			if (!dup)
				r = -ENOMEM;
		}
	}
	if (r < 0) {
		policy_clear(&copy);
		return r;
	}
	*ret = copy;
	return 0;
}

void policy_clear(struct sbx_policy *policy)
{
	for (size_t i = 0; i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];

		if (field->ignored)
			continue;
		if (field->type == POLICY_LIST || field->type == POLICY_MAP)
			policy_list_clear(policy_at(policy, field));
		else if (field->type == POLICY_STRING)
			free(*(char **)policy_at(policy, field));
	}
	*policy = (struct sbx_policy){ 0 };
}
