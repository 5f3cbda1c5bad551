/* SPDX-License-Identifier: MIT
 * Purpose: the items of a policy's lists (directories, hosts, modules), and ceilings in
 * both directions.
 * Process: one unprivileged test process; nothing is opened or resolved. */
#include <sys/socket.h>

#include "policy_help.h"

/* ---- grants, hosts, modules ---- */

static void test_grants(void **state)
{
	static const char *const bad[] = { "",     ":ro",   "a:rx",   "a:r", "a:RO",
					   "x:y",  "..",    "a/../b", "/..", "../a:ro",
					   "a\nb", "a\x7f", "a:",     "\xff" };
	struct policy_grant grant = { 0 };
	struct sbx_err err = { 0 };

	(void)state;
	assert_int_equal(policy_grant_parse("/data", &grant, &err), 0);
	assert_string_equal(grant.path, "/data");
	assert_true(grant.writable);
	assert_int_equal(policy_grant_parse("x:y:ro", &grant, &err), 0);
	assert_string_equal(grant.path, "x:y");
	assert_false(grant.writable);
	assert_int_equal(policy_grant_parse("a:b/c", &grant, &err), 0);
	assert_string_equal(grant.path, "a:b/c");
	assert_int_equal(policy_grant_parse("..a/b..:rw", &grant, &err), 0);
	assert_string_equal(grant.path, "..a/b..");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (policy_grant_parse(bad[i], &grant, &err) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		has(err.msg, "allowed_directories: expected ");
	}
}

static void test_hosts(void **state)
{
	static const char *const good[] = {
		"*",
		"a",
		"a.example",
		"A.Example",
		"*.example",
		"a.example:443",
		"*.example:80",
		"1.2.3.4",
		"1.2.3.4:80",
		"10.0.0.0/8",
		"0.0.0.0/0",
		"::/0",
		"::1",
		"[::1]",
		"[::1]:8080",
		"fd00::/8",
		"xn--bcher-kva.example",
		"_dmarc.example",
		"localhost:5000",
		"1a.example",
		"4chan.org",
	};
	static const char *const bad[] = {
		"",
		" ",
		"a b",
		"a..b",
		".a",
		"a.",
		"*a",
		"a*",
		"*.*",
		"**",
		"*.",
		"*:80",
		"a:",
		"a:0",
		"a:65536",
		"a:080",
		"a:x",
		"a:80:90",
		"http://a",
		"a/b",
		"user@a",
		"-a.b",
		"a-.b",
		"a,b",
		"b\xc3\xbc-cher.de",
		"127.1",
		"2130706433",
		"0x7f000001",
		"0x7f.1",
		"017700000001",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"01.2.3.4",
		"1.2.3.4/33",
		"1.2.3.4/",
		"10.0.0.1/8",
		"10.0.0.0/08",
		"10.0.0.0/-1",
		"10.0.0.0/8:80",
		"::/129",
		"fe80::1%eth0",
		"::ffff:127.0.0.1",
		"[::ffff:1.2.3.4]:80",
		"[::1",
		"::1]",
		"[a]",
		"[1.2.3.4]",
		"[::1]x",
		"[::1]:",
		"a\n",
		"*.1",
		"a.0x1",
		":80",
		":::",
		"[]:80",
	};
	struct policy_host host = { 0 };
	struct sbx_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (policy_host_parse(good[i], &host, &err) < 0)
			fail_msg("refused: %s: %s", good[i], err.msg);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (policy_host_parse(bad[i], &host, &err) != -EINVAL)
			fail_msg("accepted: \"%s\"", bad[i]);
		has(err.msg, "allowed_hosts: expected ");
	}
	assert_int_equal(policy_host_parse("*.Example.ORG:443", &host, &err), 0);
	assert_int_equal(host.kind, POLICY_HOST_SUFFIX);
	assert_string_equal(host.name, "example.org");
	assert_int_equal(host.port, 443);
	assert_int_equal(policy_host_parse("[2001:db8::1]:8443", &host, &err), 0);
	assert_int_equal(host.kind, POLICY_HOST_NET);
	assert_int_equal(host.family, AF_INET6);
	assert_int_equal(host.prefix, 128);
	assert_int_equal(host.port, 8443);
}

static void test_public(void **state)
{
	static const struct {
		const char *net;
		bool public;
	} nets[] = {
		{ "8.8.8.8", true },
		{ "127.0.0.1", false },
		{ "10.1.2.3", false },
		{ "172.31.0.1", false },
		{ "172.32.0.1", true },
		{ "192.168.0.0/24", false },
		{ "169.254.169.254", false },
		{ "100.100.100.200", false },
		{ "168.63.129.16", false },
		{ "168.63.129.17", true },
		{ "0.0.0.0/0", false },
		{ "8.0.0.0/5", false },
		{ "12.0.0.0/6", true },
		{ "255.255.255.255", false },
		{ "224.0.0.1", false },
		{ "::", false },
		{ "::1", false },
		{ "::/0", false },
		{ "fe80::1", false },
		{ "fd00:ec2::254", false },
		{ "2606:4700::1111", true },
		{ "2000::/3", false },
		{ "2002:7f00:1::", false },
		{ "64:ff9b::7f00:1", false },
		{ "2001:db8::1", false },
		{ "2001:4860::/32", true },
		{ "2001::1", false },
		{ "ff02::1", false },
	};
	struct policy_host host;

	(void)state;
	for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
		assert_int_equal(policy_host_parse(nets[i].net, &host, NULL), 0);
		if (policy_host_public(&host) != nets[i].public)
			fail_msg("%s", nets[i].net);
	}
}

static void test_modules(void **state)
{
	struct sbx_policy policy = fresh();

	(void)state;
	assert_true(policy_module_allowed(&policy, "math"));
	assert_true(policy_module_allowed(&policy, "random.anything"));
	assert_false(policy_module_allowed(&policy, "mathx"));
	assert_false(policy_module_allowed(&policy, "mat"));
	assert_false(policy_module_allowed(&policy, ""));
	assert_false(policy_module_allowed(&policy, ".math"));
	assert_false(policy_module_allowed(&policy, "*"));
	assert_int_equal(policy_set_text(&policy, "allowed_modules", "os.path", NULL), 0);
	assert_true(policy_module_allowed(&policy, "os"));
	assert_int_equal(policy_set_text(&policy, "allowed_modules", "*", NULL), 0);
	assert_true(policy_module_allowed(&policy, "ctypes"));
	policy.allow_imports = false;
	assert_false(policy_module_allowed(&policy, "math"));
	policy.allow_imports = true;
	assert_int_equal(policy_set_text(&policy, "allowed_modules", "", NULL), 0);
	assert_false(policy_module_allowed(&policy, "math"));
	policy_clear(&policy);
}

/* ---- ceilings ---- */

static void ceiling(const char *asked_text, const char *ceiling_text, const char *field,
		    const char *part)
{
	struct sbx_policy asked = fresh(), top;
	struct sbx_err err = { 0 };
	int r;

	policy_widest(&top);
	if (document(&asked, asked_text, &err) < 0 ||
	    document(&top, ceiling_text, &err) < 0)
		fail_msg("%s", err.msg);
	r = policy_within(&asked, &top, &err);
	if (!field && r != 0)
		fail_msg("%s within %s: %s", asked_text, ceiling_text, err.msg);
	if (field) {
		if (r != -EPERM)
			fail_msg("%s is taken for within %s", asked_text, ceiling_text);
		assert_int_equal(err.stage, SBX_AT_CEILING);
		assert_string_equal(err.field, field);
		has(err.msg, "is more than the operator allows");
		has(err.msg, part);
	}
	policy_clear(&asked);
	policy_clear(&top);
}

static void test_ceilings(void **state)
{
	struct sbx_policy top, open = fresh();
	struct sbx_err err = { 0 };

	(void)state;
	policy_widest(&top);
	assert_int_equal(policy_check(&top, &err), 0);
	assert_int_equal(policy_within(&top, &top, &err), 0);
	assert_int_equal(policy_preset(&open, "open", &err), 0);
	assert_int_equal(policy_within(&open, &top, &err), 0);
	assert_int_equal(policy_within(&open, &open, &err), 0);
	policy_clear(&top);
	policy_clear(&open);

	ceiling("max_memory_mb: 4096", "max_memory_mb: 1024", "max_memory_mb",
		"max_memory_mb: 4096 is more than the operator allows (1024 MiB)");
	ceiling("max_memory_mb: 1024", "max_memory_mb: 1024", NULL, NULL);
	ceiling("max_execution_time: 5.001", "max_execution_time: 5",
		"max_execution_time", "(5 s)");
	ceiling("max_execution_time: 0.5", "max_execution_time: 5", NULL, NULL);
	ceiling("max_cpu_time: 0", "max_cpu_time: 10", "max_cpu_time", "0 (none)");
	ceiling("max_cpu_time: 11", "max_cpu_time: 10", "max_cpu_time", "11");
	ceiling("max_cpu_time: 9", "max_cpu_time: 10", NULL, NULL);
	ceiling("max_cpu_time: 0", "max_cpu_time: 0", NULL, NULL);
	ceiling("max_cpu_time: 9", "max_cpu_time: 0", NULL, NULL);
	ceiling("network_access: true", "network_access: false", "network_access",
		"true");
	ceiling("network_access: false", "network_access: true", NULL, NULL);
	ceiling("allow_subprocess: true", "allow_subprocess: false", "allow_subprocess",
		"true");
	ceiling("degraded: allow", "degraded: refuse", "degraded", "allow");
	ceiling("degraded: refuse", "degraded: allow", NULL, NULL);
	ceiling("preload: [numpy]", "preload: []", NULL, NULL);

	ceiling("allowed_modules: [math, os]", "allowed_modules: [math]",
		"allowed_modules", "\"os\"");
	ceiling("allowed_modules: ['*']", "allowed_modules: [math]", "allowed_modules",
		"\"*\"");
	ceiling("allowed_modules: [math]", "allowed_modules: [math, os]", NULL, NULL);
	ceiling("allowed_modules: [os.path]", "allowed_modules: [os]", NULL, NULL);
	ceiling("allowed_modules: []", "allowed_modules: []", NULL, NULL);
	ceiling("{}", "allowed_modules: []", "allowed_modules", "(nothing)");
	ceiling("allow_imports: false", "allowed_modules: []", NULL, NULL);

	ceiling("allowed_directories: ['/srv/data/in:ro']",
		"allowed_directories: ['/srv/data']", NULL, NULL);
	ceiling("allowed_directories: ['/srv//data/.']",
		"allowed_directories: ['/srv/data/']", NULL, NULL);
	ceiling("allowed_directories: ['/srv/data']",
		"allowed_directories: ['/srv/data:ro']", "allowed_directories",
		"(\"/srv/data:ro\")");
	ceiling("allowed_directories: ['/srv/data2']",
		"allowed_directories: ['/srv/data']", "allowed_directories", "2");
	ceiling("allowed_directories: ['/srv']", "allowed_directories: ['/srv/data']",
		"allowed_directories", "/srv");
	ceiling("allowed_directories: [data]", "allowed_directories: ['/srv/data']",
		"allowed_directories", "data");
	ceiling("allowed_directories: [data]", "allowed_directories: ['/']", NULL, NULL);
	ceiling("allowed_directories: ['/data']", "allowed_directories: ['.']",
		"allowed_directories", "/data");
	ceiling("allowed_directories: ['/a:ro']", "allowed_directories: []",
		"allowed_directories", "(nothing)");
	ceiling("allowed_directories: ['/a:ro']", "allowed_directories: [b, c, d]",
		"allowed_directories", "and 2 more");
}

static void test_host_ceilings(void **state)
{
	static const struct {
		const char *asked, *ceiling;
		bool within;
	} hosts[] = {
		{ "*", "*", true },
		{ "a.example", "*", true },
		{ "*.example", "*", true },
		{ "8.8.8.8", "*", true },
		{ "8.8.8.0/24", "*", true },
		{ "10.0.0.1", "*", false },
		{ "169.254.169.254", "*", false },
		{ "0.0.0.0/0", "*", false },
		{ "::1", "*", false },
		{ "localhost", "*", false },
		{ "x.LocalHost:80", "*", false },
		{ "*.localhost", "*", false },
		{ "localhost", "localhost", true },
		{ "*", "a.example", false },
		{ "a.example", "A.EXAMPLE", true },
		{ "a.example:443", "a.example", true },
		{ "a.example", "a.example:443", false },
		{ "a.example:80", "a.example:443", false },
		{ "b.example", "a.example", false },
		{ "a.example", "*.example", true },
		{ "x.a.example", "*.example", true },
		{ "*.a.example", "*.example", true },
		{ "*.example", "*.example", true },
		{ "example", "*.example", false },
		{ "notexample", "*.example", false },
		{ "a.notgood.com", "*.good.com", false },
		{ "good.com.evil", "*.good.com", false },
		{ "*.com", "*.good.com", false },
		{ "10.1.0.0/16", "10.0.0.0/8", true },
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.0.0.0/7", "10.0.0.0/8", false },
		{ "11.0.0.1", "10.0.0.0/8", false },
		{ "a.example", "0.0.0.0/0", false },
		{ "::1", "0.0.0.0/0", false },
		{ "fd00::1", "fd00::/8", true },
	};
	char asked[128], top[128];

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		snprintf(asked, sizeof(asked),
			 "{\"network_access\": true, \"allowed_hosts\": [\"%s\"]}",
			 hosts[i].asked);
		snprintf(top, sizeof(top), "{\"allowed_hosts\": [\"%s\"]}",
			 hosts[i].ceiling);
		ceiling(asked, top, hosts[i].within ? NULL : "allowed_hosts",
			hosts[i].asked);
	}
	ceiling("{}", "allowed_hosts: []", NULL, NULL); /* nobody asks for the network */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grants),   cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_public),   cmocka_unit_test(test_modules),
		cmocka_unit_test(test_ceilings), cmocka_unit_test(test_host_ceilings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
