// SPDX-License-Identifier: MIT
// A server that speaks docs/api.md without running anything: it knows the programs of programs.mjs by their first line.
// For the page's tests and for work on the page: `node web/test/fake-server.mjs [PORT]`.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const fixture = (name) => JSON.parse(readFileSync(join(here, "fixtures", name), "utf8"));
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const newId = () => randomBytes(16).toString("hex");

const HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Frame-Options": "DENY",
};

function assets(dist) {
  const files = new Map();
  for (const a of JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8")))
    files.set(a.path, { ...a, data: readFileSync(join(dist, a.file)), packed: readFileSync(join(dist, a.gzip)) });
  return files;
}

const table = fixture("policy.json");

function merged(body) {
  const preset = table.presets.find((p) => p.name === (body.preset ?? "strict"));
  return { ...preset.policy, ...(typeof body.policy === "object" ? body.policy : {}) };
}

const event = (more) => ({ at_ms: 3, source: "python", kind: "import", subject: null, rule: null, line: null, remedy: null, change: null, count: 1, ...more });

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

// Each yields lines of the stream and returns what the result adds to.
const scripts = {
  async *hello() {
    yield { type: "stdout", text: "hello page\n" };
    yield { type: "display", bundle: { "text/plain": "42" } };
    return { result: 42, result_repr: "42", result_source: "expression", result_display: 0 };
  },
  async *stream(run) {
    for (let i = 0; i < 4; i++) {
      yield { type: "stdout", text: `line ${i}\n` };
      yield run.sample(5e6 + i * 1e6, i * 4);
      await sleep(400);
    }
    return {};
  },
  async *colours() {
    yield { type: "stdout", text: "\x1b[31mred\x1b[0m plain \x1b[1;38;2;1;" };
    yield { type: "stdout", text: "2;3mtrue\x1b[0m\n" };
    yield { type: "stderr", text: "to stderr\n" };
    yield { type: "stdout", text: "10%\r100%\n" };
    return {};
  },
  async *error() {
    const traceback = 'Traceback (most recent call last):\n  File "<program>", line 3, in <module>\nValueError: no luck\n';
    yield { type: "stderr", text: traceback };
    return { status: "error", error: { name: "ValueError", value: "no luck", traceback, line: 3 } };
  },
  async *forever(run) {
    yield { type: "stdout", text: "going\n" };
    while (!run.stopped) {
      yield run.sample(4e6, (Date.now() - run.started) * 0.5);
      await sleep(50);
    }
    return { status: "killed" };
  },
  async *denied(run) {
    if (run.policy.allowed_modules.includes("statistics") || run.policy.allowed_modules.includes("*")) {
      yield { type: "stdout", text: "2\n" };
      return {};
    }
    const e = event({ subject: "statistics", rule: "allowed_modules", line: 2, remedy: 'add "statistics" to allowed_modules', change: { field: "allowed_modules", add: "statistics" } });
    yield { type: "event", ...e };
    const traceback = 'Traceback (most recent call last):\n  File "<program>", line 2, in <module>\nImportError: not allowed\n';
    yield { type: "stderr", text: traceback };
    return { status: "denied", events: [e], error: { name: "ImportError", value: "not allowed", traceback, line: 2 } };
  },
  async *memory(run) {
    for (let i = 1; i <= 5; i++) {
      yield run.sample((run.policy.max_memory_mb * 1048576 * i) / 5, i * 10);
      await sleep(30);
    }
    const e = event({ at_ms: 150, source: "supervisor", kind: "limit", subject: "memory", rule: "max_memory_mb", remedy: "raise max_memory_mb" });
    yield { type: "event", ...e };
    return { status: "memory", events: [e], error: { name: "MemoryLimit", value: "more memory", traceback: null, line: null } };
  },
  async *grow(run) {
    for (let i = 0; i < 20; i++) {
      yield { type: "stdout", text: `step ${i}\n` };
      yield run.sample(6e6 * (i + 1), i * 6);
      await sleep(200);
      if (run.stopped) return { status: "killed" };
    }
    return {};
  },
  async *html() {
    const html =
      "<style>.hot{color:rgb(200, 0, 0)}</style><b class=hot>styled</b><i style='color:rgb(0, 0, 200)'>inline</i>" +
      "<script>parent.stolen=1;document.title='owned'</script><img src=x onerror=\"document.title='owned'\">" +
      "<a href='javascript:document.title=1'>x</a><iframe src='/'></iframe><meta http-equiv=refresh content='0;url=/stolen'>" +
      "<svg><script>parent.document.title='owned'</script></svg>";
    yield { type: "display", bundle: { "text/plain": "<H>", "text/html": html } };
    return { result_repr: "<H>", result_source: "expression", result_display: 0 };
  },
  async *svg() {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="document.title=1"><script>document.title="owned"</script><rect width="40" height="40" style="fill:#0a0"/></svg>';
    yield { type: "display", bundle: { "text/plain": "<S>", "image/svg+xml": svg } };
    return { result_repr: "<S>", result_source: "expression", result_display: 0 };
  },
  async *hostile() {
    yield { type: "stdout", text: "<script>document.title='owned'</script><img src=x onerror=alert(1)>\n" };
    yield { type: "stdout", text: "\x1b]0;owned\x07\x1b[999;999H\x1b[2J\x1bP bomb \x1b\\after\n" };
    return {};
  },
  async *flood() {
    for (let i = 0; i < 640; i++) yield { type: "stdout", text: "x".repeat(15625) };
    yield { type: "stdout", text: "\nthe end\n" };
    return { truncated: { stdout: 8_900_000, stderr: 0, files: 0 } };
  },
  async *ansi() {
    let text = "";
    for (let i = 0; i < 200_000; i++) {
      text += `\x1b[${30 + (i % 8)}m${i % 10}`;
      if (text.length > 16000) {
        yield { type: "stdout", text };
        text = "";
      }
    }
    yield { type: "stdout", text: text + "\n\x1b[0mthe end\n" };
    return {};
  },
  async *plot() {
    const chart = { title: "Rise", axes: [{ title: "Rise", x_label: "", y_label: "", series: [{ type: "line", label: "rise", x: [1, 2, 3], y: [4, 5, 6] }] }] };
    yield { type: "display", bundle: { "text/plain": "<Figure>", "image/png": PIXEL, "application/vnd.sandbox.chart+json": chart } };
    return {};
  },
  async *frame() {
    const int = (...v) => {
      const b = Buffer.alloc(8 * v.length);
      v.forEach((x, i) => b.writeBigInt64LE(BigInt(x), 8 * i));
      return { dtype: "int64", values: { $type: "numpy.ndarray", shape: [v.length], dtype: "<i8", data: b.toString("base64") } };
    };
    const frame = {
      $type: "pandas.DataFrame",
      index: { kind: "range", start: 0, stop: 2, step: 1, name: null },
      columns: { kind: "index", name: null, dtype: "object", values: ["a", "b"] },
      data: [int(1, 2), { dtype: "object", values: ["x", "<b>y</b>"] }],
    };
    yield { type: "display", bundle: { "text/plain": "   a  b", "application/vnd.sandbox.frame+json": frame } };
    return { result: frame, result_repr: "   a  b", result_source: "expression", result_display: 0 };
  },
  async *plain(run) {
    yield { type: "stdout", text: `ran ${run.code.length} characters\n` };
    return {};
  },
};

class Fake {
  constructor(options) {
    this.options = { token: "", journal: true, rows: 0, ...options };
    this.assets = assets(this.options.dist ?? join(here, "..", "dist"));
    this.runs = new Map();
    this.sessions = new Map();
    this.order = [];
    const statuses = ["ok", "ok", "ok", "error", "denied", "memory", "timeout"];
    for (let i = 0; i < this.options.rows; i++) {
      const status = statuses[i % statuses.length];
      const run = this.newRun({ code: `# run ${i}\nprint(${i})\n` }, null);
      run.at = Date.now() - (this.options.rows - i) * 60_000;
      run.result = this.resultOf(run, { status, stdout: `${i}\n`, usage: { wall_ms: 3 + (i % 400), memory_peak_bytes: 1e6 + (i % 90) * 1e6 } });
    }
  }

  newRun(body, session) {
    const run = { id: newId(), code: body.code, body, at: Date.now(), started: Date.now(), policy: session ? session.policy : merged(body), preset: body.preset ?? "strict", samples: [], events: [], displays: [], stdout: "", stderr: "", stopped: false, session, result: null };
    run.sample = (memory_bytes, cpu_ms) => ({ type: "sample", at_ms: Date.now() - run.started, memory_bytes, cpu_ms, processes: 1 });
    this.runs.set(run.id, run);
    this.order.unshift(run.id);
    return run;
  }

  resultOf(run, more) {
    const wall = Date.now() - run.started;
    return {
      id: run.id, status: "ok", result: null, result_repr: null, result_source: null, result_display: null,
      stdout: run.stdout.slice(0, 1 << 20), stderr: run.stderr, truncated: { stdout: 0, stderr: 0, files: 0 }, error: null, displays: run.displays, files: run.session ? [] : (run.body.leaves ?? []),
      events: run.events, enforced: { memory: "cgroup2", filesystem: "mount namespace+landlock" }, policy: run.policy,
      template: { python: "/usr/bin/python3", version: "3.11.2", preload: [] }, session: run.session?.id ?? null,
      execution_count: run.session ? ++run.session.executions : null, session_ended: null, recorded: this.options.journal,
      ...more,
      usage: { wall_ms: wall, cpu_ms: wall / 3, memory_peak_bytes: Math.max(1048576, ...run.samples.map((s) => s.memory_bytes)), processes_peak: 1, written_bytes: 0, connections: 0, sent_bytes: 0, received_bytes: 0, ...more.usage },
    };
  }

  row(run) {
    const r = run.result;
    return {
      id: run.id, at: new Date(run.at).toISOString(), caller: "token start", session: run.session?.id ?? null, filename: "<program>", status: r ? r.status : "running",
      wall_ms: r?.usage.wall_ms ?? null, cpu_ms: r?.usage.cpu_ms ?? null, memory_peak_bytes: r?.usage.memory_peak_bytes ?? null, event_count: r?.events.length ?? null, preset: run.preset, code: run.code.slice(0, 400),
    };
  }

  async execute(res, body) {
    const session = body.session ? this.sessions.get(body.session) : null;
    if (body.session && !session) return this.problem(res, 404, "NotFound", "there is no session with this id", "session");
    const run = this.newRun(body, session);
    const name = /^# test: (\w+)/.exec(body.code)?.[1] ?? "plain";
    const script = session ? this.cell(run, name) : (scripts[name] ?? scripts.plain)(run);
    res.writeHead(200, { ...HEADERS, "Content-Type": "application/x-ndjson", "Cache-Control": "no-store" });
    res.on("close", () => (run.stopped = true));
    let drained = () => {};
    res.on("drain", () => drained());
    res.on("close", () => drained());
    const say = async (line) => {
      if (!res.write(JSON.stringify(line) + "\n") && !res.destroyed) await new Promise((r) => (drained = r));
    };
    await say({ type: "start", id: run.id });
    if (session) session.state = "busy";
    for (;;) {
      const { done, value } = await script.next();
      if (done) {
        run.result = this.resultOf(run, run.stopped ? { ...value, status: "killed" } : value);
        break;
      }
      if (value.type === "sample") run.samples.push(value);
      else if (value.type === "event") run.events.push(value);
      else if (value.type === "display") run.displays.push(value.bundle);
      else run[value.type] += value.text;
      await say(value);
    }
    if (session) session.state = "idle";
    await say({ type: "result", result: run.result });
    res.end();
  }

  async *cell(run, name) {
    const assigned = /^(\w+) = (.+)$/m.exec(run.code);
    if (assigned) run.session.variables.set(assigned[1], assigned[2]);
    if (scripts[name] && name !== "plain") return yield* scripts[name](run);
    const last = run.code.trim().split("\n").pop().trim();
    if (run.session.variables.has(last)) {
      const repr = run.session.variables.get(last);
      yield { type: "display", bundle: { "text/plain": repr } };
      return { result_repr: repr, result_source: "expression", result_display: 0 };
    }
    return {};
  }

  problem(res, status, name, detail, field = null) {
    res.writeHead(status, { ...HEADERS, "Content-Type": "application/problem+json", "Cache-Control": "no-store" });
    res.end(JSON.stringify({ type: `urn:interpreter-sandbox:${name}`, title: name, status, detail, name, field }));
  }

  json(res, value, status = 200) {
    res.writeHead(status, { ...HEADERS, "Content-Type": "application/json", "Cache-Control": "no-store" });
    res.end(JSON.stringify(value));
  }

  file(req, res, asset) {
    const headers = { ...HEADERS, "Content-Type": asset.type, ETag: `"${asset.etag}"`, Vary: "Accept-Encoding", "Cache-Control": asset.immutable ? "public, max-age=31536000, immutable" : "no-cache", "Content-Security-Policy": asset.csp ?? "default-src 'none'" };
    const packed = /\bgzip\b/.test(req.headers["accept-encoding"] ?? "");
    if (packed) headers["Content-Encoding"] = "gzip";
    res.writeHead(200, headers);
    res.end(packed ? asset.packed : gunzipSync(asset.packed));
  }

  list(res, q) {
    if (!this.options.journal) {
      for (const name of ["since", "text", "event", "session"]) if (q.get(name)) return this.problem(res, 404, "NotRecorded", "this server keeps no journal to look this up in", name);
    }
    let ids = this.order;
    if (q.get("before")) ids = ids.slice(ids.indexOf(q.get("before")) + 1);
    const words = (q.get("text") ?? "").toLowerCase();
    const rows = [];
    for (const id of ids) {
      const run = this.runs.get(id);
      const status = run.result?.status ?? "running";
      if (q.get("status") && status !== q.get("status")) continue;
      if (words && !(run.code + run.stdout).toLowerCase().includes(words)) continue;
      if (q.get("since") && run.at < Date.parse(q.get("since"))) continue;
      if (q.get("event") && !(run.result?.events ?? []).some((e) => e.kind === q.get("event"))) continue;
      rows.push(this.row(run));
      if (rows.length === Number(q.get("limit") ?? 50)) break;
    }
    this.json(res, { executions: rows, recorded: this.options.journal });
  }

  session(req, res, parts, body) {
    const own = this.sessions.get(parts[0]);
    if (!own) return this.problem(res, 404, "NotFound", "there is no session with this id");
    const show = () => ({ id: own.id, state: own.state, created_at: own.at, used_at: own.at, executions: own.executions, idle_timeout_s: 3600, policy: own.policy, template: { version: "3.11.2" }, memory_bytes: 8e6 });
    const empty = () => (res.writeHead(204, HEADERS), res.end());
    switch (`${req.method} ${parts[1] ?? ""}`) {
      case "GET ":
        return this.json(res, show());
      case "DELETE ":
        this.sessions.delete(own.id);
        return empty();
      case "POST interrupt":
        for (const run of this.runs.values()) if (run.session === own) run.stopped = true;
        return empty();
      case "POST restart":
        own.variables.clear();
        own.executions = 0;
        return this.json(res, show());
      case "GET variables":
        return this.json(res, { variables: [...own.variables].map(([name, preview]) => ({ name, type: "int", size: 28, preview })) });
      case "POST complete": {
        const start = body.code.slice(0, body.cursor).search(/\w+$/);
        const word = body.code.slice(start, body.cursor);
        return this.json(res, { matches: [...own.variables.keys()].filter((v) => v.startsWith(word)), start, end: body.cursor });
      }
      case "GET files":
        if (parts[2]) return (res.writeHead(200, { ...HEADERS, "Content-Type": "application/octet-stream", "Content-Disposition": "attachment" }), res.end(own.files.get(parts[2])));
        return this.json(res, { files: [...own.files].map(([path, data]) => ({ path, size: data.length, mime: null })) });
      case "PUT files":
        own.files.set(parts.slice(2).join("/"), body);
        return this.json(res, {});
      case "DELETE files":
        own.files.delete(parts.slice(2).join("/"));
        return empty();
    }
    return this.problem(res, 404, "NotFound", "there is nothing at this path");
  }

  metrics() {
    const times = [...this.runs.values()].filter((r) => r.result).map((r) => r.result.usage.wall_ms / 1000);
    let text = `# TYPE sandbox_executions_total counter\nsandbox_executions_total{status="ok"} ${times.length}\n`;
    for (const le of [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]) text += `sandbox_execution_run_seconds_bucket{le="${le}"} ${times.filter((t) => t <= le).length}\n`;
    return text + `sandbox_execution_run_seconds_bucket{le="+Inf"} ${times.length}\n`;
  }

  async handle(req, res) {
    const url = new URL(req.url, "http://localhost");
    const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const asset = this.assets.get(url.pathname);
    if (asset && req.method === "GET") return this.file(req, res, asset);
    if (parts[0] !== "v1" && url.pathname !== "/metrics") return this.problem(res, 404, "NotFound", "there is nothing at this path");
    if (this.options.token && url.pathname !== "/v1/health" && req.headers.authorization !== `Bearer ${this.options.token}`) return this.problem(res, 401, "Unauthorized", "a token is needed");
    const chunks = [];
    for await (const c of req) chunks.push(c);
    let body = Buffer.concat(chunks);
    if ((req.headers["content-type"] ?? "").startsWith("application/json")) body = JSON.parse(body.toString());
    switch (`${req.method} /${parts.slice(0, 2).join("/")}`) {
      case "GET /metrics":
        res.writeHead(200, { ...HEADERS, "Content-Type": "text/plain" });
        return res.end(this.metrics());
      case "GET /v1/health":
        return this.json(res, { status: "ok", running: [...this.runs.values()].filter((r) => !r.result).length, sessions: this.sessions.size, templates: [{ python: "/usr/bin/python3", preload: [], ready: true, waiting: 4, target: 4, running: 0, forks: 12 }], live: true, ready: true });
      case "GET /v1/policy":
        return this.json(res, this.options.ceilings ? { ...table, fields: table.fields.map((f) => (f.name in this.options.ceilings ? { ...f, ceiling: this.options.ceilings[f.name] } : f)) } : table);
      case "GET /v1/doctor": {
        const doctor = fixture("doctor.json");
        if (this.options.gaps) for (const w of doctor.walls) if (this.options.gaps.includes(w.name)) Object.assign(w, { stands: false, detail: "it is refused here", remedy: "a kernel that allows it" });
        return this.json(res, doctor);
      }
      case "GET /v1/journal":
        return this.options.journal ? this.json(res, { head: `sandbox-journal 1\ncommit 8\nexecutions 1 ${"cd".repeat(32)} ${"cd".repeat(32)} ${this.order.length} ${"ab".repeat(32)} ${"ef".repeat(32)}\n` }) : this.problem(res, 404, "NotRecorded", "this server keeps no journal");
      case "POST /v1/executions":
        return this.execute(res, body);
      case "GET /v1/executions": {
        if (!parts[2]) return this.list(res, url.searchParams);
        const run = this.runs.get(parts[2]);
        if (!run) return this.problem(res, 404, "NotFound", "no such run");
        if (parts[3] === "samples") return this.json(res, { samples: run.samples });
        if (parts[3] === "files") return (res.writeHead(200, { ...HEADERS, "Content-Type": "application/octet-stream" }), res.end("content"));
        return this.json(res, { ...this.row(run), code: run.code, policy: run.policy, ...(run.result ? { result: run.result } : {}) });
      }
      case "DELETE /v1/executions": {
        const run = this.runs.get(parts[2]);
        if (!run) return this.problem(res, 404, "NotFound", "no such run");
        run.stopped = true;
        return (res.writeHead(204, HEADERS), res.end());
      }
      case "GET /v1/sessions":
      case "PUT /v1/sessions":
      case "DELETE /v1/sessions":
        if (parts[2]) return this.session(req, res, parts.slice(2), body);
        return this.json(res, { sessions: [...this.sessions.values()].map((s) => ({ id: s.id, state: s.state, created_at: s.at, used_at: s.at, executions: s.executions, idle_timeout_s: 3600, policy: s.policy, template: null, memory_bytes: 8e6 })) });
      case "POST /v1/sessions": {
        if (parts[2]) return this.session(req, res, parts.slice(2), body);
        const made = { id: newId(), state: "idle", at: new Date().toISOString(), executions: 0, policy: merged(body), variables: new Map(), files: new Map() };
        this.sessions.set(made.id, made);
        return this.json(res, { id: made.id, state: "starting", created_at: made.at, used_at: made.at, executions: 0, idle_timeout_s: 3600, policy: made.policy, template: null, memory_bytes: null }, 201);
      }
    }
    return this.problem(res, 404, "NotFound", "there is nothing at this path");
  }
}

export async function startFake(options = {}) {
  const fake = new Fake(options);
  const server = createServer((req, res) => fake.handle(req, res).catch((e) => (console.error(e), res.destroy())));
  await new Promise((r) => server.listen(options.port ?? 0, "127.0.0.1", r));
  // A test that fails leaves it behind.
  if (!options.port) server.unref();
  return { url: `http://127.0.0.1:${server.address().port}`, fake, close: () => (server.closeAllConnections(), server.close()) };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { url } = await startFake({ port: Number(process.argv[2] ?? 5055), rows: 40 });
  console.log(url);
}
