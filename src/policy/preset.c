/* SPDX-License-Identifier: MIT
 * Purpose: the presets, as documents that go through the same door as a user's.
 * Process: engine and command; any thread.
 * Invariants: a preset is what its text says over the defaults and over nothing else. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "policy/internal.h"

/* What a model writes all day fits: libraries for data, files in its own working
 * directory, one full core. The kernel is the wall, so every module is allowed. Names
 * with "?" count as far as they are installed. */
#define DATA                                                                             \
	"\"max_memory_mb\": 1024, \"max_cpu_percent\": 100, \"max_execution_time\": 60," \
	"\"max_processes\": 128, \"max_disk_mb\": 512, \"max_open_files\": 1024,"        \
	"\"allow_file_operations\": true, \"allowed_modules\": [\"*\"],"                 \
	"\"preload\": [\"numpy?\", \"pandas?\", \"matplotlib?\", \"matplotlib.pyplot?\"]"

static const struct {
	const char *name, *meaning, *meaning_zh;
	const char *settings; /* JSON object over the defaults */
} presets[] = {
	{ "strict",
	  "The defaults: pure computation in a few seconds, two modules, no files, no network.",
	  "默认值：数秒之内的纯计算，两个模块，无文件，无网络。", "{}" },
	{ "data",
	  "Data work: numpy, pandas and matplotlib loaded ahead as far as they are installed, every module, files in "
	  "the working directory, no network, no other programs, one full core, 60 s, 1 GiB.",
	  "数据分析：预先加载已安装的 numpy、pandas、matplotlib，允许所有模块，可在工作目录中读写文件，无网络，不能执行其他程序，"
	  "一个完整核心，60 秒，1 GiB。",
	  "{" DATA "}" },
	{ "open", "As `data`, with the public network and other programs.",
	  "同 `data`，另可访问公网并执行其他程序。",
	  "{" DATA
	  ", \"network_access\": true, \"allowed_hosts\": [\"*\"], \"allow_subprocess\": true}" },
};
#define PRESETS (sizeof(presets) / sizeof(presets[0]))

const char *policy_preset_name(size_t i)
{
	return i < PRESETS ? presets[i].name : NULL;
}

const char *policy_preset_meaning(size_t i)
{
	return i < PRESETS ? presets[i].meaning : NULL;
}

const char *policy_preset_meaning_zh(size_t i)
{
	return i < PRESETS ? presets[i].meaning_zh : NULL;
}

int policy_preset(struct sbx_policy *policy, const char *name, struct sbx_err *err)
{
	_cleanup_json_ json_t *settings = NULL;
	struct sbx_policy made;
	char text[POLICY_SHOWN];
	size_t i;
	int r;

	for (i = 0; i < PRESETS; i++)
		if (strcmp(presets[i].name, name) == 0)
			break;
	if (i == PRESETS)
		return err_set_field(
			err, SBX_AT_POLICY, ENOENT, "preset",
			"preset: expected \"strict\", \"data\" or \"open\", got %s",
			policy_shown(name, text));
	settings = json_loads(presets[i].settings, JSON_REJECT_DUPLICATES, NULL);
	if (!settings)
		return policy_no_memory(err);
	policy_init(&made);
	r = policy_set_object(&made, settings, err);
	if (r < 0) {
		policy_clear(&made);
		return r;
	}
	policy_clear(policy);
	*policy = made;
	return 0;
}
