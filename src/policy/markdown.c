/* SPDX-License-Identifier: MIT
 * Purpose: docs/policy.md, made of the field table and the presets, so that it cannot say
 * what is not so.
 * Process: tests and the command; any thread.
 * Invariants: tables are derived; prose says only what no table holds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/internal.h"

static const char head[] =
	"<!-- Generated from src/policy by tests/unit/test_policy.c (POLICY_DOC_WRITE=1); edit it there. -->\n"
	"# Policy\n"
	"\n"
	"What a program may use and do. Names are the same in JSON, YAML, `--set`, the Python settings and results.\n"
	"\n"
	"策略规定程序可以使用什么、可以做什么。字段名在 JSON、YAML、`--set`、Python 设置与结果中完全一致。\n"
	"\n"
	"## Fields 字段\n"
	"\n"
	"| Field | Meaning | 含义 | Accepts | Default |\n"
	"|---|---|---|---|---|\n";

static const char tail[] =
	"## Writing one 书写方式\n"
	"\n"
	"A policy document is JSON (when it starts with `{`) or YAML: a mapping of fields. `preset: NAME`, if given, comes\n"
	"first, since it sets every field; the fields behind it change what they name. A list replaces the list before it.\n"
	"\n"
	"```yaml\n"
	"preset: data\n"
	"max_memory_mb: 2048\n"
	"allowed_directories: [\"data:ro\", \"out:rw\"]\n"
	"environment: {TZ: \"Europe/Berlin\"}\n"
	"```\n"
	"\n"
	"A document has at most 1 MiB and 8 levels. Unknown fields, duplicate keys, NUL characters and bad UTF-8 are\n"
	"refused; in YAML also aliases, anchors, tags, directives and a second document. YAML words are typed by the core\n"
	"schema of YAML 1.2: `true`, `True` and `TRUE` are booleans, `yes` and `on` are text. In YAML, text that starts\n"
	"with `*` needs quotes.\n"
	"\n"
	"`--set FIELD=VALUE` takes JSON where the value parses as JSON, else text:\n"
	"\n"
	"- a list takes text with commas: `allowed_modules=math,json`, `allowed_modules=math`, and nothing at all for the\n"
	"  empty list, `allowed_hosts=`. Spaces around items are dropped. An item with a comma in it needs JSON.\n"
	"- `environment` takes `KEY=VALUE,KEY=VALUE`; a value with a comma in it needs JSON.\n"
	"- numbers and booleans are written as in JSON or YAML (`0.5`, `.5`, `1e3`, `true`, `True`); `yes`, `no`, `1` and\n"
	"  `0` are no booleans.\n"
	"\n"
	"策略文档可用 JSON（以 `{` 开头）或 YAML 书写；`preset` 若出现须为第一项。命令行用 `--set 字段=值`：\n"
	"能按 JSON 解析的按 JSON 处理，否则视为文本；列表用逗号分隔，`environment` 用 `KEY=VALUE,KEY=VALUE`。\n"
	"\n"
	"## Directories 目录\n"
	"\n"
	"`PATH`, `PATH:ro` or `PATH:rw`, without `..`. A path whose last part has a colon in it needs its `:ro` or `:rw`.\n"
	"The same directory cannot be given twice; one inside another can (`src:ro`, `src/out:rw`).\n"
	"\n"
	"## Hosts 主机\n"
	"\n"
	"- `api.example.org`: that name. `*.example.org`: every name below it, not itself. Both reach only the public\n"
	"  addresses that the name resolves to, so that a name cannot lead into a private network.\n"
	"- `192.0.2.1`, `[2001:db8::1]:443`, `10.0.0.0/8`: an address or block, the way to reach one that is not public.\n"
	"- `localhost`: loopback. `*`: all public addresses. A port may follow a name or an address: `host:443`.\n"
	"\n"
	"Names are ASCII (`xn--...` for international ones) without a dot at the end. Addresses in odd forms (`127.1`,\n"
	"`0x7f000001`, `::ffff:127.0.0.1`) and blocks with bits behind their prefix (`10.0.0.1/8`) are refused.\n"
	"\n"
	"## Environment 环境变量\n"
	"\n"
	"Nothing is inherited. The interpreter is started before the policy is known, so a variable reaches what the\n"
	"program looks up and the programs that it starts, never the interpreter's own start:\n"
	"\n"
	"- `LD_*` and `GLIBC_TUNABLES` are refused.\n"
	"- `PYTHONPATH`, `PYTHONHOME`, `PYTHONHASHSEED` and `PYTHONSTARTUP` are refused unless `allow_subprocess` is true;\n"
	"  then interpreters that the program starts read them. Other `PYTHON*` variables are set as they are.\n"
	"\n"
	"No wall rests on this. Values never appear in results.\n"
	"\n"
	"## Ceilings 上限\n"
	"\n"
	"An operator's ceiling is a policy, too. A request is refused when it asks for more in any field but `preload`,\n"
	"`python` and `environment`: a larger number, `true` over `false`, `allow` over `refuse`, a list item that no item\n"
	"of the ceiling contains (`/srv/data/in:ro` is within `/srv/data`, `a.example.org` within `*.example.org`, all\n"
	"modules only within `*`). `allowed_hosts` does not count without `network_access`, `allowed_modules` not without\n"
	"`allow_imports`.\n";

/* Text of a table's cell: a bar would end it. */
static int add_cell(struct buf *b, const char *text)
{
	int r = buf_add(b, " ", 1);

	for (; *text && r >= 0; text++)
		r = *text == '|' ? buf_add(b, "\\|", 2) : buf_add(b, text, 1);
	return r < 0 ? r : buf_add(b, " |", 2);
}

static int add_accepts(struct buf *b, const struct policy_field *field)
{
	char range[96];

	switch (field->type) {
	case POLICY_INT:
	case POLICY_NUMBER:
		return add_cell(b, policy_range(field, range));
	case POLICY_BOOL:
		return add_cell(b, "true or false");
	case POLICY_STRING:
		return buf_addf(b, " text of at most %.0f bytes |", field->max);
	case POLICY_LIST:
		return buf_addf(b, " list of at most %.0f |", field->max);
	case POLICY_MAP:
		return buf_addf(b, " mapping of at most %.0f |", field->max);
	case POLICY_CHOICE:
		break;
	}
	if (buf_add(b, " ", 1) < 0)
		return -ENOMEM;
	for (int i = 0; field->choices[i]; i++)
		if (buf_addf(b, "%s`%s`", i ? " or " : "", field->choices[i]) < 0)
			return -ENOMEM;
	return buf_add(b, " |", 2);
}

static int add_value(struct buf *b, const struct policy_field *field,
		     const struct sbx_policy *policy)
{
	int r = buf_add(b, " `", 2);

	if (r >= 0)
		r = policy_value_text(b, field, policy);
	return r < 0 ? r : buf_add(b, "` |", 3);
}

static int add_fields(struct buf *b, const struct sbx_policy *defaults)
{
	int r = 0;

	for (size_t i = 0; i < policy_field_count && r >= 0; i++) {
		const struct policy_field *field = &policy_fields[i];

		r = buf_addf(b, "| `%s` |", field->name);
		if (r >= 0)
			r = add_cell(b, field->meaning);
		if (r >= 0)
			r = add_cell(b, field->meaning_zh);
		if (r >= 0)
			r = add_accepts(b, field);
		if (r >= 0)
			r = field->ignored ? add_cell(b, "")
					   : add_value(b, field, defaults);
		if (r >= 0)
			r = buf_add(b, "\n", 1);
	}
	return r;
}

/* One row of the presets' table, if any preset differs from the defaults in this
 * field. */
static int add_preset_row(struct buf *b, const struct policy_field *field)
{
	_cleanup_buf_ struct buf row = { 0 }, first = { 0 };
	bool differs = false;
	int r = 0;

	for (size_t i = 0; policy_preset_name(i) && r >= 0; i++) {
		struct sbx_policy policy;
		size_t from = row.len;

		policy_init(&policy);
		r = policy_preset(&policy, policy_preset_name(i), NULL);
		if (r >= 0)
			r = add_value(&row, field, &policy);
		policy_clear(&policy);
		if (r >= 0 && i == 0)
			r = buf_add(&first, row.data, row.len);
		if (r >= 0 && (row.len - from != first.len ||
			       memcmp(row.data + from, first.data, first.len) != 0))
			differs = true;
	}
	return r < 0 || !differs ? r : buf_addf(b, "| `%s` |%s\n", field->name, row.data);
}

static int add_presets(struct buf *b)
{
	int r = buf_addf(b, "\n## Presets 预设\n\n");

	for (size_t i = 0; policy_preset_name(i) && r >= 0; i++)
		r = buf_addf(b, "- `%s`: %s %s\n", policy_preset_name(i),
			     policy_preset_meaning(i), policy_preset_meaning_zh(i));
	if (r >= 0)
		r = buf_addf(b, "\nWhat is not listed is the same in all.\n\n| Field |");
	for (size_t i = 0; policy_preset_name(i) && r >= 0; i++)
		r = buf_addf(b, " `%s` |", policy_preset_name(i));
	if (r >= 0)
		r = buf_addf(b, "\n|---|");
	for (size_t i = 0; policy_preset_name(i) && r >= 0; i++)
		r = buf_addf(b, "---|");
	if (r >= 0)
		r = buf_add(b, "\n", 1);
	for (size_t i = 0; i < policy_field_count && r >= 0; i++)
		if (!policy_fields[i].ignored)
			r = add_preset_row(b, &policy_fields[i]);
	return r < 0 ? r : buf_add(b, "\n", 1);
}

int policy_to_markdown(char **ret_text)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct sbx_policy defaults;
	int r;

	policy_init(&defaults);
	r = buf_add(&b, head, strlen(head));
	if (r >= 0)
		r = add_fields(&b, &defaults);
	policy_clear(&defaults);
	if (r >= 0)
		r = add_presets(&b);
	if (r >= 0)
		r = buf_add(&b, tail, strlen(tail));
	if (r < 0)
		return r;
	*ret_text = b.data;
	b = (struct buf){ 0 };
	return 0;
}
