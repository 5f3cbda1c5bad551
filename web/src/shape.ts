// SPDX-License-Identifier: MIT
// Reads what came over the wire into the shapes of types.ts: a member that is missing or of another type becomes
// something harmless, so that no view has to ask.
import type {
  Bundle, Change, Doctor, ErrorInfo, Field, FileInfo, Json, Policy, PolicyTable, PolicyValue, Preset, Problem, Recorded,
  Result, Row, Sample, SandboxEvent, Session, Status, Usage, Variable, Wall,
} from "./types";

export const isRecord = (v: Json | undefined): v is { [key: string]: Json } =>
  typeof v === "object" && v !== null && !Array.isArray(v);
export const record = (v: Json | undefined): { [key: string]: Json } => (isRecord(v) ? v : {});
export const list = (v: Json | undefined): Json[] => (Array.isArray(v) ? v : []);
export const text = (v: Json | undefined, otherwise = ""): string => (typeof v === "string" ? v : otherwise);
export const textOrNull = (v: Json | undefined): string | null => (typeof v === "string" ? v : null);
export const number = (v: Json | undefined, otherwise = 0): number =>
  typeof v === "number" && Number.isFinite(v) ? v : otherwise;
export const numberOrNull = (v: Json | undefined): number | null =>
  typeof v === "number" && Number.isFinite(v) ? v : null;
const when = (v: Json | undefined): string | number => (typeof v === "string" || typeof v === "number" ? v : 0);

export function toProblem(body: Json, status: number): Problem {
  const outer = record(body);
  const inner = isRecord(outer["error"]) ? record(outer["error"]) : outer;
  return {
    name: text(inner["name"], text(inner["title"], `HTTP ${status}`)),
    message: text(inner["message"], text(inner["detail"], text(inner["value"], text(inner["title"], `HTTP ${status}`)))),
    field: textOrNull(inner["field"]),
  };
}

const STATUSES = new Set<string>([
  "ok", "error", "timeout", "memory", "cpu", "processes", "output", "disk", "denied", "killed", "fault", "running", "lost",
]);
export const status = (v: Json | undefined): Status =>
  typeof v === "string" && STATUSES.has(v) ? (v as Status) : v == null ? "running" : "fault";

function change(v: Json | undefined): Change | null {
  const r = record(v);
  if (typeof r["field"] !== "string") return null;
  const made: Change = { field: r["field"] };
  if ("add" in r) made.add = r["add"] as Json;
  if ("set" in r) made.set = r["set"] as Json;
  return made;
}

export function event(v: Json | undefined): SandboxEvent {
  const r = record(v);
  const made: SandboxEvent = {
    at_ms: number(r["at_ms"]),
    source: text(r["source"]),
    kind: text(r["kind"]),
    subject: textOrNull(r["subject"]),
    rule: textOrNull(r["rule"]),
    line: numberOrNull(r["line"]),
    remedy: textOrNull(r["remedy"]),
    change: change(r["change"]),
    count: number(r["count"], 1),
  };
  if (typeof r["sent_bytes"] === "number") made.sent_bytes = r["sent_bytes"];
  if (typeof r["received_bytes"] === "number") made.received_bytes = r["received_bytes"];
  return made;
}

export function sample(v: Json | undefined): Sample {
  const r = record(v);
  const made: Sample = {
    at_ms: number(r["at_ms"]),
    memory_bytes: number(r["memory_bytes"]),
    cpu_ms: typeof r["cpu_us"] === "number" ? r["cpu_us"] / 1000 : number(r["cpu_ms"]),
    processes: number(r["processes"]),
  };
  if (typeof r["written_bytes"] === "number") made.written_bytes = r["written_bytes"];
  return made;
}

function errorInfo(v: Json | undefined): ErrorInfo | null {
  if (!isRecord(v)) return null;
  return { name: text(v["name"]), value: text(v["value"]), traceback: textOrNull(v["traceback"]), line: numberOrNull(v["line"]) };
}

export function file(v: Json | undefined): FileInfo {
  const r = record(v);
  const made: FileInfo = { path: text(r["path"]), size: number(r["size"]), mime: textOrNull(r["mime"]) };
  if (typeof r["stored_bytes"] === "number") made.stored_bytes = r["stored_bytes"];
  if (r["modified_at"] !== undefined) made.modified_at = when(r["modified_at"]);
  return made;
}

export const bundle = (v: Json | undefined): Bundle => record(v);

function usage(v: Json | undefined): Usage {
  const r = record(v);
  return {
    wall_ms: number(r["wall_ms"]),
    cpu_ms: number(r["cpu_ms"]),
    memory_peak_bytes: number(r["memory_peak_bytes"]),
    processes_peak: number(r["processes_peak"]),
    written_bytes: number(r["written_bytes"]),
    connections: number(r["connections"]),
    sent_bytes: number(r["sent_bytes"]),
    received_bytes: number(r["received_bytes"]),
  };
}

export function policyValue(v: Json | undefined): PolicyValue | null {
  if (typeof v === "boolean" || typeof v === "number" || typeof v === "string") return v;
  if (Array.isArray(v)) return v.map((x) => (typeof x === "string" ? x : JSON.stringify(x)));
  if (isRecord(v)) return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, typeof x === "string" ? x : JSON.stringify(x)]));
  return null;
}

export function policy(v: Json | undefined): Policy {
  const made: Policy = {};
  for (const [name, x] of Object.entries(record(v))) {
    const value = policyValue(x);
    if (value !== null) made[name] = value;
  }
  return made;
}

export function result(v: Json | undefined): Result {
  const r = record(v);
  const cut = record(r["truncated"]);
  const made: Result = {
    id: text(r["id"]),
    status: status(r["status"]),
    result: r["result"] ?? null,
    result_repr: textOrNull(r["result_repr"]),
    result_source: textOrNull(r["result_source"]),
    result_display: numberOrNull(r["result_display"]),
    stdout: text(r["stdout"]),
    stderr: text(r["stderr"]),
    truncated: { stdout: number(cut["stdout"]), stderr: number(cut["stderr"]), files: number(cut["files"]) },
    error: errorInfo(r["error"]),
    displays: list(r["displays"]).map(bundle),
    files: list(r["files"]).map(file),
    usage: usage(r["usage"]),
    events: list(r["events"]).map(event),
    enforced: Object.fromEntries(Object.entries(record(r["enforced"])).map(([k, x]) => [k, text(x)])),
    policy: policy(r["policy"]),
    template: typeof r["template"] === "string" || isRecord(r["template"]) ? (r["template"] as Result["template"]) : null,
    session: textOrNull(r["session"]),
    execution_count: numberOrNull(r["execution_count"]),
    session_ended: textOrNull(r["session_ended"]),
  };
  if (typeof r["recorded"] === "boolean") made.recorded = r["recorded"];
  if (typeof r["record_error"] === "string") made.record_error = r["record_error"];
  return made;
}

const FIELD_TYPES: Record<string, Field["type"]> = {
  integer: "integer", int: "integer", number: "number", boolean: "boolean", bool: "boolean", string: "string", text: "string",
  list: "list", array: "list", map: "map", mapping: "map", object: "map", choice: "choice", enum: "choice",
};

function field(v: Json, defaults: Policy, ceilings: Policy): Field {
  const r = record(v);
  const name = text(r["name"]);
  const value = policyValue(r["default"]) ?? defaults[name] ?? null;
  const type = FIELD_TYPES[text(r["type"])];
  const meaning = record(r["meaning"]);
  return {
    name,
    type: type ?? (typeof value === "boolean" ? "boolean" : typeof value === "number" ? "number" : Array.isArray(value) ? "list" : "string"),
    unit: text(r["unit"]),
    min: numberOrNull(r["min"] ?? r["minimum"]),
    max: numberOrNull(r["max"] ?? r["maximum"]),
    choices: list(r["choices"]).map((x) => text(x)),
    meaning: {
      en: text(meaning["en"], text(r["meaning"])),
      zh: text(meaning["zh"], text(r["meaning_zh"], text(meaning["en"], text(r["meaning"])))),
    },
    value: value ?? "",
    ceiling: policyValue(r["ceiling"]) ?? ceilings[name] ?? null,
    zeroIsNone: r["zero_is_none"] === true,
  };
}

export function policyTable(v: Json): PolicyTable {
  const r = record(v);
  const defaults = policy(r["defaults"]);
  const ceilings = policy(r["ceilings"]);
  const presets: Preset[] = [];
  const add = (name: string, x: Json): void => {
    const p = record(x);
    const meaning = record(p["meaning"]);
    const own = isRecord(p["policy"]) ? p["policy"] : isRecord(p["fields"]) ? p["fields"] : p;
    presets.push({
      name,
      meaning: { en: text(meaning["en"], text(p["meaning"])), zh: text(meaning["zh"], text(p["meaning_zh"], text(p["meaning"]))) },
      policy: policy(own),
    });
  };
  if (Array.isArray(r["presets"])) for (const p of r["presets"]) add(text(record(p)["name"]), p);
  else for (const [name, p] of Object.entries(record(r["presets"]))) add(name, p);
  const fields = list(r["fields"])
    .filter((f) => record(f)["ignored"] !== true && record(f)["name"] !== "check_interval")
    .map((f) => field(f, defaults, ceilings));
  return { fields, presets };
}

export function session(v: Json | undefined): Session {
  const r = record(v);
  const state = text(r["state"]);
  return {
    id: text(r["id"]),
    state: state === "starting" || state === "idle" || state === "busy" ? state : "ended",
    created_at: when(r["created_at"]),
    used_at: when(r["used_at"]),
    executions: number(r["executions"]),
    idle_timeout_s: number(r["idle_timeout_s"]),
    policy: policy(r["policy"]),
    template: typeof r["template"] === "string" || isRecord(r["template"]) ? (r["template"] as Result["template"]) : null,
    memory_bytes: numberOrNull(r["memory_bytes"]),
  };
}

export function variable(v: Json): Variable {
  const r = record(v);
  const size = r["size"];
  return { name: text(r["name"]), type: text(r["type"]), size: numberOrNull(size), preview: text(r["preview"]) };
}

export function row(v: Json): Row {
  const r = record(v);
  const use = record(r["usage"]);
  return {
    id: text(r["id"]),
    at: r["at_us"] !== undefined ? number(r["at_us"]) / 1000 : when(r["at"] ?? r["started_at"]),
    caller: textOrNull(r["caller"]),
    session: textOrNull(r["session"]),
    filename: textOrNull(r["filename"]),
    status: status(r["status"]),
    wall_ms: numberOrNull(r["wall_ms"] ?? use["wall_ms"]),
    cpu_ms: numberOrNull(r["cpu_ms"] ?? use["cpu_ms"]),
    memory_peak_bytes: numberOrNull(r["memory_peak_bytes"] ?? use["memory_peak_bytes"]),
    denials: numberOrNull(r["denials"] ?? r["event_count"]),
    code: text(r["code"], text(r["preview"], text(r["code_preview"]))),
    preset: textOrNull(r["preset"]),
  };
}

export function recorded(v: Json): Recorded {
  const r = record(v);
  const inner = isRecord(r["result"]) && "status" in r["result"] && "usage" in r["result"] ? r["result"] : r;
  const read = result(inner);
  return {
    ...read,
    // The journal keeps these beside the result.
    stdout: read.stdout || text(r["stdout"]),
    stderr: read.stderr || text(r["stderr"]),
    events: read.events.length ? read.events : list(r["events"]).map(event),
    id: text(r["id"]),
    status: status(r["status"] ?? inner["status"]),
    at: r["at_us"] !== undefined ? number(r["at_us"]) / 1000 : when(r["at"] ?? r["started_at"]) || null,
    code: text(r["code"]),
    preset: textOrNull(r["preset"]),
    caller: textOrNull(r["caller"]),
    filename: textOrNull(r["filename"]),
    session: textOrNull(r["session"] ?? inner["session"]),
    policy: policy(r["policy"] ?? inner["policy"]),
    mac: textOrNull(r["mac"]),
  };
}

function wall(v: Json): Wall {
  const r = record(v);
  return {
    name: text(r["name"]),
    stands: r["stands"] === true,
    enforced: text(r["enforced"]),
    probed_with: text(r["probed_with"]),
    detail: text(r["detail"]),
    remedy: textOrNull(r["remedy"]),
  };
}

/** Of the journal's head (docs/journal.md): how many executions its chain has, and the last link. */
export function journalHead(v: Json): { count: number; mac: string } | null {
  const line = text(record(v)["head"]).split("\n").find((l) => l.startsWith("executions "));
  const [, first, , , last, mac] = line?.split(" ") ?? [];
  if (!mac) return null;
  return { count: Math.max(0, Number(last) - Number(first) + 1) || 0, mac };
}

export function doctor(v: Json): Doctor {
  const r = record(v);
  return {
    ok: r["ok"] === true,
    version: text(r["version"]),
    kernel: text(r["kernel"]),
    machine: text(r["machine"]),
    root: r["root"] === true,
    walls: list(r["walls"]).map(wall),
  };
}
