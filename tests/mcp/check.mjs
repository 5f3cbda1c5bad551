// SPDX-License-Identifier: MIT
// Talks to a server with the official clients, the one of the generations with `initialize` (sdk 1.x) and the one of
// 2026-07-28 (client 2.x), over stdio or HTTP. Arguments: JSON {"client": 1 | 2, "version"?, "command"?, "args"?, "url"?,
// "token"?, "tag"}. Prints one JSON object of what was seen; a rejection or a schema that does not fit ends it with 1.
const wanted = JSON.parse(process.argv[2]);
const seen = { progress: [] };

async function connect() {
	const info = { name: "check", version: "1" };
	const headers = wanted.token ? { Authorization: `Bearer ${wanted.token}` } : {};
	if (wanted.client === 1) {
		const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
		const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
		const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
		const client = new Client(info);
		await client.connect(wanted.url
			? new StreamableHTTPClientTransport(new URL(wanted.url), { requestInit: { headers } })
			: new StdioClientTransport({ command: wanted.command, args: wanted.args, stderr: "ignore" }));
		return client;
	}
	const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
	const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
	const client = new Client(info, { versionNegotiation: { mode: wanted.version ? { pin: wanted.version } : "auto" } });
	await client.connect(wanted.url
		? new StreamableHTTPClientTransport(new URL(wanted.url), { requestInit: { headers } })
		: new StdioClientTransport({ command: wanted.command, args: wanted.args, stderr: "ignore" }));
	return client;
}

const client = await connect();

async function call(name, args = {}, options = {}) {
	if (wanted.client === 1) return client.callTool({ name, arguments: args }, undefined, options);
	return client.callTool({ name, arguments: args }, options);
}

seen.server = client.getServerVersion() ?? null;
const { tools } = await client.listTools();
seen.tools = tools.map((tool) => tool.name);
seen.schemas = tools.every((tool) => tool.outputSchema && tool.inputSchema && tool.annotations);

seen.plain = await call("run_python", { code: "print('one')\n6 * 7" });
seen.failed = await call("run_python", { code: "1 / 0" });
seen.progressed = await call("run_python",
	{ code: "import time\nfor i in range(3):\n    print('line', i, flush=True)\n    time.sleep(0.05)" },
	{ onprogress: (progress) => seen.progress.push(progress) });

const session = (await call("session_new", { files: { "in.txt": "given" } })).structuredContent.id;
await call("run_python", { session, code: "x = open('in.txt').read()" });
seen.kept = await call("run_python", { session, code: "x" });
await call("files_write", { session, path: "b.txt", text: "written" });
seen.files = (await call("files_list", { session })).structuredContent.files.map((file) => file.path);
seen.read = await call("files_read", { session, path: "b.txt" });
seen.sessions = (await call("session_list")).structuredContent.sessions.map((s) => s.id).includes(session);
await call("session_reset", { session });
seen.reset = await call("run_python", { session, code: "x" });
seen.policy = (await call("policy_show")).structuredContent.policy;
seen.listed = (await call("journal_list", { limit: 50 })).structuredContent;
seen.shown = (await call("journal_show", { id: seen.plain.structuredContent.id })).structuredContent.execution;

const abort = new AbortController();
const began = Date.now();
setTimeout(() => abort.abort(new Error("enough")), 300);
try {
	await call("run_python", { session, code: "import time\ntime.sleep(50)" }, { signal: abort.signal });
	seen.cancelled = "answered";
} catch (error) {
	seen.cancelled = String(error.message ?? error);
}
/* The session's next program waits for the one that was cancelled. */
seen.after = await call("run_python", { session, code: "'free'" });
seen.after_ms = Date.now() - began;
await call("session_end", { session });
seen.gone = await call("run_python", { session, code: "1" });
await client.close();
console.log(JSON.stringify(seen));
process.exit(0);
