/* SPDX-License-Identifier: MIT
 * Purpose: the table of sandbox.yaml's keys (config.h), the checks of single items, and the
 *   texts made of the table: docs/configuration.md and deploy/sandbox.yaml.
 * Process: engine, command and tests; any thread.
 * Invariants: what is not understood is refused; every value has a bound. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "daemon/config_internal.h"
#include "journal/redact.h"

#define DAY_S 86400
#define PATH_BYTES 4095

static int expected(struct sbx_err *err, const char *what, const char *got)
{
	return err_set(err, SBX_AT_USAGE, EINVAL, "expected %s, got \"%.100s\"", what,
		       got);
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

int config_port(const char *text)
{
	int port = 0;

	if (!*text || strlen(text) > 5)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		port = port * 10 + (*text - '0');
	}
	return port <= 65535 ? port : -EINVAL;
}

int config_address(const char *text, struct config_address *ret)
{
	const char *colon = strrchr(text, ':');
	struct config_address address = { 0 };
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || len == 0 || len >= sizeof(address.host))
		return -EINVAL;
	memcpy(address.host, text, len);
	address.port = config_port(colon + 1);
	if (address.port < 0)
		return -EINVAL;
	if (address.host[0] == '[' && address.host[len - 1] == ']') {
		address.family = AF_INET6;
		memmove(address.host, address.host + 1, len - 2);
		address.host[len - 2] = '\0';
	} else {
		address.family = AF_INET;
	}
	if (strcmp(address.host, "localhost") == 0)
		memcpy(address.host, "127.0.0.1", sizeof("127.0.0.1"));
	if (inet_pton(address.family, address.host, address.bytes) != 1)
		return -EINVAL;
	address.loopback = address.family == AF_INET
				   ? address.bytes[0] == 127
				   : memcmp(address.bytes, &in6addr_loopback, 16) == 0;
	*ret = address;
	return 0;
}

static int check_address(const char *text, struct sbx_err *err)
{
	struct config_address address;

	return config_address(text, &address) == 0
		       ? 0
		       : expected(err, "ADDRESS:PORT as in 127.0.0.1:5000 or [::1]:5000",
				  text);
}

static int check_path(const char *text, struct sbx_err *err)
{
	if (!*text || (*text == '/' && !has_control(text)))
		return 0;
	return expected(err, "an absolute path", text);
}

static int check_directory(const char *text, struct sbx_err *err)
{
	struct policy_grant grant;

	if (policy_grant_parse(text, &grant, NULL) == 0 && grant.path[0] == '/')
		return 0;
	return expected(
		err, "an absolute directory, with :ro or :rw or neither behind it", text);
}

static int check_group(const char *text, struct sbx_err *err)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789_.-$");

	return text[len] == '\0' && *text != '-' ? 0
						 : expected(err, "a group's name", text);
}

/* What a Host header has: a name or an address, with a port or without. */
static int check_host(const char *text, struct sbx_err *err)
{
	const char *colon = strrchr(text, ':');
	size_t len = strlen(text), name = len;

	if (text[0] == '[') {
		name = strcspn(text, "]") + 1;
		colon = name < len ? text + name : NULL;
		if (name > len ||
		    strspn(text + 1, "0123456789abcdefABCDEF:.") + 2 != name)
			return expected(err, "a host, with a port or without", text);
	} else {
		name = colon ? (size_t)(colon - text) : len;
		if (strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != name ||
		    name == 0)
			return expected(err, "a host, with a port or without", text);
	}
	if (colon && (*colon != ':' || config_port(colon + 1) <= 0))
		return expected(err, "a port from 1 to 65535 behind the host", text);
	return 0;
}

static int check_origin(const char *text, struct sbx_err *err)
{
	const char *host = strncmp(text, "https://", 8) == 0  ? text + 8
			   : strncmp(text, "http://", 7) == 0 ? text + 7
							      : NULL;

	if (host && check_host(host, NULL) == 0)
		return 0;
	return expected(err, "an origin as in https://host:port, without a path", text);
}

static int check_line(const char *text, struct sbx_err *err)
{
	return *text && !has_control(text)
		       ? 0
		       : expected(err, "text without control characters", text);
}

/* What journal/redact.c takes. */
static int check_mask(const char *text, struct sbx_err *err)
{
	size_t len = strlen(text), stars = 0;

	for (const char *at = text; *at; at++)
		stars += *at == '*';
	if (len > REDACT_PATTERN_MAX || strcspn(text, "*") < REDACT_PATTERN_MIN ||
	    stars > REDACT_STARS_MAX)
		return expected(
			err,
			"a text of 4 to 256 bytes, with 4 before the first * and three * at most",
			text);
	return 0;
}

static const char *const log_levels[] = { "off", "error", "warn", "info", "debug", NULL };
static const char *const durabilities[] = { "normal", "full", NULL };

#define AT(field) offsetof(struct config, field)

const struct config_field config_fields[] = {
	{ .name = "listen",
	  .type = CONFIG_LIST,
	  .offset = AT(listen),
	  .max = 16,
	  .restart = true,
	  .check = check_address,
	  .example = "[\"127.0.0.1:5000\", \"[::1]:5000\"]",
	  .meaning =
		  "Addresses and ports of HTTP over TCP. Other than loopback only with `tls` or the option `--insecure`. Empty: 127.0.0.1:5000, and none at all where a socket is named and this is not.",
	  .meaning_zh =
		  "通过 TCP 提供 HTTP 的地址与端口。非回环地址须配置 `tls` 或使用 `--insecure`。为空：127.0.0.1:5000；若指定了 socket 而未指定本项，则不监听 TCP。" },
	{ .name = "socket",
	  .type = CONFIG_STRING,
	  .offset = AT(socket),
	  .max = 107,
	  .restart = true,
	  .check = check_path,
	  .example = "/run/sandbox.sock",
	  .meaning =
		  "Path of the unix socket, mode 0600. Empty: /run/sandbox.sock as root, else $XDG_RUNTIME_DIR/sandbox.sock.",
	  .meaning_zh =
		  "Unix 套接字的路径，权限 0600。为空：root 为 /run/sandbox.sock，否则为 $XDG_RUNTIME_DIR/sandbox.sock。" },
	{ .name = "socket_group",
	  .type = CONFIG_STRING,
	  .offset = AT(socket_group),
	  .max = 32,
	  .restart = true,
	  .check = check_group,
	  .example = "sandbox",
	  .meaning =
		  "A group whose members may use the unix socket (mode 0660). They run programs with the rights to files that they have themselves.",
	  .meaning_zh =
		  "其成员可使用 unix 套接字的用户组（权限 0660）。他们运行的程序只有其自身的文件权限。" },
	{ .name = "tls.certificate",
	  .type = CONFIG_STRING,
	  .offset = AT(tls_certificate),
	  .max = PATH_BYTES,
	  .check = check_path,
	  .restart = true,
	  .example = "/etc/interpreter-sandbox/tls.crt",
	  .meaning = "Certificate chain in PEM for every TCP listener.",
	  .meaning_zh = "所有 TCP 监听使用的 PEM 证书链。" },
	{ .name = "tls.key",
	  .type = CONFIG_STRING,
	  .offset = AT(tls_key),
	  .max = PATH_BYTES,
	  .check = check_path,
	  .restart = true,
	  .example = "/etc/interpreter-sandbox/tls.key",
	  .meaning = "Its private key in PEM; refused when others can read it.",
	  .meaning_zh = "对应的 PEM 私钥；若他人可读则拒绝。" },
	{ .name = "tokens",
	  .type = CONFIG_PARTS,
	  .parse = config_parse_tokens,
	  .max = CONFIG_TOKENS_MAX,
	  .example =
		  "\n#  - name: ci\n#    file: /etc/interpreter-sandbox/ci.token\n#    ceilings: {max_memory_mb: 256, network_access: false}",
	  .meaning =
		  "Who may use TCP: a list of `name`, `file` (made with a token of 256 bits if absent, mode 0600; refused when others can read it) and, if wanted, `owner: true` (sees and ends everybody's programs) and `ceilings` below the general ones.",
	  .meaning_zh =
		  "谁可使用 TCP：由 `name`、`file`（不存在时生成 256 位令牌，权限 0600；若他人可读则拒绝）以及可选的 `owner: true`（可查看并终止所有人的程序）和 `ceilings`（低于总上限）组成的列表。" },
	{ .name = "hosts",
	  .type = CONFIG_LIST,
	  .offset = AT(hosts),
	  .max = 64,
	  .check = check_host,
	  .example = "[\"sandbox.example.org\"]",
	  .meaning =
		  "Values of the Host header that are accepted beside the listeners' own addresses; others get 421.",
	  .meaning_zh = "除监听地址自身外可接受的 Host 头的值；其余返回 421。" },
	{ .name = "origins",
	  .type = CONFIG_LIST,
	  .offset = AT(origins),
	  .max = 64,
	  .check = check_origin,
	  .example = "[\"https://sandbox.example.org\"]",
	  .meaning =
		  "Values of the Origin header that are accepted beside the listeners' own; others get 403.",
	  .meaning_zh = "除监听自身来源外可接受的 Origin 头的值；其余返回 403。" },
	{ .name = "grantable_directories",
	  .type = CONFIG_LIST,
	  .offset = AT(grantable_directories),
	  .restart = true,
	  .max = 64,
	  .check = check_directory,
	  .example = "[\"/srv/data:ro\"]",
	  .meaning =
		  "Directories (`PATH`, `PATH:ro`, `PATH:rw`) of which a caller over TCP may grant itself parts; none by default. Callers on the unix socket have the rights of their own user instead where root started the server; where another user did, he has his own and others are granted what callers over TCP are.",
	  .meaning_zh =
		  "TCP 调用者可授予自身访问的目录范围（`PATH`、`PATH:ro`、`PATH:rw`）；默认没有。服务由 root 启动时，unix 套接字的调用者以其自身用户的权限为准；由其他用户启动时，该用户拥有自己的权限，其他人与 TCP 调用者相同。" },
	{ .name = "defaults",
	  .type = CONFIG_POLICY,
	  .offset = AT(defaults),
	  .example = "\n#  preset: data\n#  max_execution_time: 30",
	  .meaning =
		  "Fields of the policy (docs/policy.md) that a request without a preset starts from; `preset: NAME` may come first.",
	  .meaning_zh =
		  "未指定预设的请求所采用的策略字段（docs/policy.md）；`preset: NAME` 可作为第一项。" },
	{ .name = "ceilings",
	  .type = CONFIG_POLICY,
	  .offset = AT(ceilings),
	  .example =
		  "\n#  max_memory_mb: 2048\n#  max_execution_time: 300\n#  degraded: refuse",
	  .meaning =
		  "Fields of the policy that no request may exceed (`CeilingExceeded`); what is not named has no ceiling.",
	  .meaning_zh =
		  "任何请求均不得超过的策略字段（`CeilingExceeded`）；未列出者没有上限。" },
	{ .name = "templates",
	  .type = CONFIG_PARTS,
	  .parse = config_parse_templates,
	  .max = CONFIG_TEMPLATES_MAX,
	  .example =
		  "\n#  science: {python: /opt/science/bin/python, preload: [numpy, \"scipy?\"]}",
	  .meaning =
		  "Interpreters by name, for a request's `template`: `python` (empty: the default) and `preload`; warm from the start.",
	  .meaning_zh =
		  "按名称提供的解释器，供请求的 `template` 使用：`python`（为空表示默认）与 `preload`；启动时即预热。" },
	{ .name = "admission.executions",
	  .type = CONFIG_INT,
	  .offset = AT(admission_executions),
	  .max = 1024,
	  .meaning =
		  "Programs that run at once; 0: eight for each core, 64 at least. More wait for their turn, callers one after the other.",
	  .meaning_zh =
		  "同时运行的程序数；0：每核八个，至少 64。其余排队，各调用者轮流。" },
	{ .name = "admission.queue",
	  .type = CONFIG_INT,
	  .offset = AT(admission_queue),
	  .max = 65536,
	  .meaning = "Programs that may wait; more are refused (429 with Retry-After).",
	  .meaning_zh = "可等待的程序数；更多则拒绝（429，附 Retry-After）。" },
	{ .name = "admission.memory_mb",
	  .type = CONFIG_INT,
	  .offset = AT(admission_memory_mb),
	  .max = 1048576,
	  .unit = "MiB",
	  .meaning =
		  "Memory that running programs and sessions may be promised together, a few MiB of overhead for each included; 0: nine tenths of the machine's or of the own cgroup's. It is never promised twice.",
	  .meaning_zh =
		  "可承诺给运行中程序与会话的内存总和（含各自少量开销）；0：机器或自身 cgroup 内存的九成。绝不重复承诺。" },
	{ .name = "sessions.max",
	  .type = CONFIG_INT,
	  .offset = AT(sessions_max),
	  .max = 100000,
	  .meaning = "Sessions at once.",
	  .meaning_zh = "同时存在的会话数。" },
	{ .name = "sessions.idle_timeout",
	  .type = CONFIG_INT,
	  .offset = AT(sessions_idle_timeout),
	  .min = 1,
	  .max = 365 * DAY_S,
	  .unit = "s",
	  .meaning =
		  "After so long without use a session ends; a request may ask for less.",
	  .meaning_zh = "会话闲置多久后结束；请求可要求更短。" },
	{ .name = "journal.dir",
	  .type = CONFIG_STRING,
	  .offset = AT(journal_dir),
	  .max = PATH_BYTES,
	  .restart = true,
	  .check = check_path,
	  .example = "/var/lib/interpreter-sandbox/journal",
	  .meaning =
		  "Directory of the journal, made with mode 0700 if absent. Empty: the default one (docs/journal.md). `journal: false` keeps none.",
	  .meaning_zh =
		  "日志目录，不存在时以 0700 创建。为空：默认目录（docs/journal.md）。`journal: false`：不记录。" },
	{ .name = "journal.required",
	  .type = CONFIG_BOOL,
	  .offset = AT(journal_required),
	  .restart = true,
	  .meaning =
		  "Whether a program that cannot be recorded is not run (`JournalError`).",
	  .meaning_zh = "无法记录的程序是否拒绝运行（`JournalError`）。" },
	{ .name = "journal.durability",
	  .type = CONFIG_CHOICE,
	  .offset = AT(journal_durability),
	  .choices = durabilities,
	  .restart = true,
	  .meaning =
		  "`normal`: a record survives the end of every process of ours; `full`: and that of the machine, at the price of a sync for each.",
	  .meaning_zh =
		  "`normal`：记录在本程序所有进程结束后仍在；`full`：机器断电后亦在，代价是每次同步。" },
	{ .name = "journal.key",
	  .type = CONFIG_STRING,
	  .offset = AT(journal_key),
	  .max = PATH_BYTES,
	  .restart = true,
	  .check = check_path,
	  .example = "/etc/interpreter-sandbox/journal.key",
	  .meaning =
		  "File of the key that records are chained with. Empty: `journal.key` in the directory.",
	  .meaning_zh = "用于串联记录的密钥文件。为空：目录内的 `journal.key`。" },
	{ .name = "journal.keep_days",
	  .type = CONFIG_INT,
	  .offset = AT(journal_keep_days),
	  .min = 1,
	  .max = 36500,
	  .unit = "days",
	  .restart = true,
	  .meaning = "How long records are kept.",
	  .meaning_zh = "记录保留多久。" },
	{ .name = "journal.keep_mb",
	  .type = CONFIG_INT,
	  .offset = AT(journal_keep_mb),
	  .min = 16,
	  .max = 1073741824,
	  .unit = "MiB",
	  .restart = true,
	  .meaning = "How large the journal may become; the oldest records go first.",
	  .meaning_zh = "日志的最大体积；最旧的记录先删除。" },
	{ .name = "journal.forward",
	  .type = CONFIG_LIST,
	  .offset = AT(journal_forward),
	  .max = 8,
	  .restart = true,
	  .check = check_line,
	  .example = "[\"file:/var/log/sandbox.jsonl\", \"syslog\"]",
	  .meaning =
		  "Where records go besides: `file:PATH` (JSON lines), `syslog`, `journald`.",
	  .meaning_zh =
		  "记录另外发送到：`file:PATH`（JSON 行）、`syslog`、`journald`。" },
	{ .name = "redact",
	  .type = CONFIG_LIST,
	  .offset = AT(redact),
	  .max = 256,
	  .check = check_mask,
	  .example = "[\"sk-live-*\", \"my-password\"]",
	  .meaning =
		  "Texts that the journal never holds: they are replaced by `***` in code and output.",
	  .meaning_zh = "日志绝不保存的文本：在代码与输出中以 `***` 代替。" },
	{ .name = "log_level",
	  .type = CONFIG_CHOICE,
	  .offset = AT(log_level),
	  .choices = log_levels,
	  .meaning =
		  "What is told on standard error, one line each: `info` has every request. Never a secret, a program or its output.",
	  .meaning_zh =
		  "在标准错误上逐行输出的内容：`info` 包括每个请求。绝不包含机密、程序或其输出。" },
	{ .name = "doors",
	  .type = CONFIG_PARTS,
	  .parse = config_parse_doors,
	  .max = CONFIG_DOORS_MAX,
	  .restart = true,
	  .example = "\n#  - {name: e2b, address: \"127.0.0.1:49999\", open: false}",
	  .meaning =
		  "Other programs' protocols on ports of their own: a list of `name`, `address` and, if wanted, `open: true` (no token needed).",
	  .meaning_zh =
		  "在独立端口上提供的其他程序的协议：由 `name`、`address` 及可选的 `open: true`（无需令牌）组成的列表。" },
};
const size_t config_field_count = sizeof(config_fields) / sizeof(config_fields[0]);

/* ---- texts ---- */

/* The default as YAML. */
static int add_default(struct buf *b, const struct config_field *field,
		       const struct config *defaults)
{
	const void *at = (const char *)defaults + field->offset;

	switch (field->type) {
	case CONFIG_INT:
		return buf_addf(b, "%lld", (long long)*(const int64_t *)at);
	case CONFIG_BOOL:
		return buf_addf(b, "%s", *(const bool *)at ? "true" : "false");
	case CONFIG_STRING:
		return buf_addf(b, "\"%s\"", *(char *const *)at);
	case CONFIG_CHOICE:
		return buf_addf(b, "%s", field->choices[*(const int *)at]);
	case CONFIG_LIST:
	case CONFIG_PARTS:
		return buf_addf(b, strcmp(field->name, "templates") == 0 ? "{}" : "[]");
	case CONFIG_POLICY:
		return buf_addf(b, "{}");
	}
	return 0;
}

static int add_accepts(struct buf *b, const struct config_field *field)
{
	switch (field->type) {
	case CONFIG_INT:
		return buf_addf(b, "a whole number from %.0f to %.0f%s%s", field->min,
				field->max, field->unit ? " " : "",
				field->unit ? field->unit : "");
	case CONFIG_BOOL:
		return buf_addf(b, "true or false");
	case CONFIG_STRING:
		return buf_addf(b, "text of at most %.0f bytes", field->max);
	case CONFIG_CHOICE:
		for (int i = 0; field->choices[i]; i++)
			if (buf_addf(b, "%s`%s`", i ? ", " : "", field->choices[i]) < 0)
				return -ENOMEM;
		return 0;
	case CONFIG_LIST:
	case CONFIG_PARTS:
		return buf_addf(b, "at most %.0f", field->max);
	case CONFIG_POLICY:
		return buf_addf(b, "fields of a policy");
	}
	return 0;
}

static const char doc_head[] =
	"<!-- Generated from src/daemon/config_table.c by tests/unit/test_config.c (CONFIG_DOC_WRITE=1); edit it there. -->\n"
	"# Configuration\n"
	"\n"
	"`sandbox serve` and `sandbox run` read `sandbox.yaml`: the file of `--config FILE`, else, started as root,\n"
	"`/etc/interpreter-sandbox/sandbox.yaml`, else `$XDG_CONFIG_HOME/interpreter-sandbox/sandbox.yaml`\n"
	"(`~/.config/...`). None is needed. `sandbox policy check FILE` tells what is wrong with one, and where. It is\n"
	"YAML (or JSON) of at most 1 MiB, without aliases, anchors, tags and duplicate keys; an unknown key is refused.\n"
	"Options of the command line come over it.\n"
	"\n"
	"`sandbox serve` 与 `sandbox run` 读取 `sandbox.yaml`；命令行选项优先。`sandbox policy check FILE` 指出其中的错误及行号。\n"
	"\n"
	"## Keys 键\n"
	"\n"
	"`a.b` is the key `b` in the mapping `a`. SIGHUP (`systemctl reload`) reads the file again; a key with * takes a\n"
	"restart, which is said. A file that is wrong changes nothing.\n"
	"\n"
	"| Key | Meaning | 含义 | Accepts | Default |\n"
	"|---|---|---|---|---|\n";

static const char doc_tail[] =
	"\n"
	"## Who may ask for what 谁可请求什么\n"
	"\n"
	"A request starts from its preset, else from `defaults`; `template` sets interpreter and preloads; the fields of\n"
	"the request come over both. The outcome has to lie within `ceilings` and, with a token, within that token's\n"
	"`ceilings`, else it is refused with 403, `CeilingExceeded` and the field. The ceilings bind `sandbox run` of the\n"
	"same file, too. Interpreter and preloads of a request's own are taken from the local command and from a caller\n"
	"on the unix socket with the server's uid; everybody else names a template. Over TCP directories have to be\n"
	"absolute and beneath `grantable_directories`.\n";

int config_to_markdown(char **ret_text)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct config defaults;
	int r;

	config_init(&defaults);
	r = buf_add(&b, doc_head, strlen(doc_head));
	for (size_t i = 0; i < config_field_count && r >= 0; i++) {
		const struct config_field *field = &config_fields[i];

		r = buf_addf(&b, "| `%s`%s | %s | %s | ", field->name,
			     field->restart ? " *" : "", field->meaning,
			     field->meaning_zh);
		if (r >= 0)
			r = add_accepts(&b, field);
		if (r >= 0)
			r = buf_addf(&b, " | `");
		if (r >= 0)
			r = add_default(&b, field, &defaults);
		if (r >= 0)
			r = buf_addf(&b, "` |\n");
	}
	config_clear(&defaults);
	if (r >= 0)
		r = buf_add(&b, doc_tail, strlen(doc_tail));
	if (r < 0)
		return r;
	*ret_text = b.data;
	b = (struct buf){ 0 };
	return 0;
}

/* Words in lines of a comment, at most 100 columns. */
static int add_comment(struct buf *b, const char *indent, const char *text)
{
	size_t column = 0;
	int r = 0;

	while (*text && r >= 0) {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + len + 1 > 100) {
			r = buf_addf(b, "\n");
			column = 0;
		}
		if (r >= 0 && column == 0) {
			r = buf_addf(b, "%s#", indent);
			column = strlen(indent) + 1;
		}
		if (r >= 0)
			r = buf_addf(b, " %.*s", (int)len, text);
		column += len + 1;
		text += len;
		text += strspn(text, " ");
	}
	return r < 0 ? r : buf_addf(b, "\n");
}

static int add_yaml(struct buf *b, const struct config_field *field,
		    const struct config *defaults, const char *section)
{
	const char *dot = strchr(field->name, '.');
	int r = buf_addf(b, "\n");

	if (dot && strncmp(section, field->name, (size_t)(dot + 1 - field->name)) != 0)
		r = buf_addf(b, "#%.*s:\n", (int)(dot - field->name), field->name);
	if (r >= 0)
		r = add_comment(b, dot ? "  " : "", field->meaning);
	if (r >= 0)
		r = buf_addf(b, "#%s%s:%s", dot ? "  " : "", dot ? dot + 1 : field->name,
			     field->example && field->example[0] == '\n' ? "" : " ");
	if (r >= 0)
		r = field->example ? buf_addf(b, "%s", field->example)
				   : add_default(b, field, defaults);
	return r < 0 ? r : buf_addf(b, "\n");
}

int config_to_yaml(char **ret_text)
{
	static const char head[] =
		"# sandbox.yaml: the configuration of interpreter-sandbox. Every line is optional; what stands here\n"
		"# behind \"#\" is an example or the default. docs/configuration.md says more, and\n"
		"# `sandbox policy check FILE` checks a file. Made by tests/unit/test_config.c of src/daemon/config_table.c.\n";
	_cleanup_buf_ struct buf b = { 0 };
	struct config defaults;
	const char *section = "";
	int r;

	config_init(&defaults);
	r = buf_add(&b, head, strlen(head));
	for (size_t i = 0; i < config_field_count && r >= 0; i++) {
		r = add_yaml(&b, &config_fields[i], &defaults, section);
		section = strchr(config_fields[i].name, '.') ? config_fields[i].name : "";
	}
	config_clear(&defaults);
	if (r < 0)
		return r;
	*ret_text = b.data;
	b = (struct buf){ 0 };
	return 0;
}
