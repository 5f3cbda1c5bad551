// SPDX-License-Identifier: MIT
// What the server says (docs/api.md). Everything in here was written by another side: members are read, never trusted
// as markup, and what may be missing is marked so.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export type Status =
  | "ok" | "error" | "timeout" | "memory" | "cpu" | "processes" | "output" | "disk" | "denied" | "killed" | "fault"
  | "running" | "lost";

export type Bundle = Record<string, Json>;

export interface Change {
  field: string;
  add?: Json;
  set?: Json;
}

export interface SandboxEvent {
  at_ms: number;
  source: string;
  kind: string;
  subject: string | null;
  rule: string | null;
  line: number | null;
  remedy: string | null;
  change: Change | null;
  count: number;
  sent_bytes?: number;
  received_bytes?: number;
}

export interface Sample {
  at_ms: number;
  memory_bytes: number;
  cpu_ms: number;
  processes: number;
  written_bytes?: number;
}

export interface ErrorInfo {
  name: string;
  value: string;
  traceback: string | null;
  line: number | null;
}

export interface FileInfo {
  path: string;
  size: number;
  mime?: string | null;
  stored_bytes?: number;
  modified_at?: string | number | null;
}

export interface Usage {
  wall_ms: number;
  cpu_ms: number;
  memory_peak_bytes: number;
  processes_peak: number;
  written_bytes: number;
  connections: number;
  sent_bytes: number;
  received_bytes: number;
}

export type PolicyValue = boolean | number | string | string[] | Record<string, string>;
export type Policy = Record<string, PolicyValue>;

export interface Result {
  id: string;
  status: Status;
  result: Json;
  result_repr: string | null;
  result_source: string | null;
  result_display?: number | null;
  stdout: string;
  stderr: string;
  truncated: { stdout: number; stderr: number; files: number };
  error: ErrorInfo | null;
  displays: Bundle[];
  files: FileInfo[];
  usage: Usage;
  events: SandboxEvent[];
  enforced: Record<string, string>;
  policy: Policy;
  template: { python?: string; version?: string; name?: string; preload?: string[] } | string | null;
  session?: string | null;
  execution_count?: number | null;
  session_ended?: string | null;
  recorded?: boolean;
  record_error?: string;
}

export type StreamLine =
  | { type: "start"; id: string }
  | { type: "stdout" | "stderr"; text: string }
  | ({ type: "event" } & SandboxEvent)
  | ({ type: "sample" } & Sample)
  | { type: "display"; bundle: Bundle }
  | { type: "result"; result: Result }
  | { type: "error"; error: Problem };

export interface Problem {
  name: string;
  message: string;
  field: string | null;
}

export interface Field {
  name: string;
  type: "integer" | "number" | "boolean" | "string" | "list" | "map" | "choice";
  unit: string;
  min: number | null;
  max: number | null;
  choices: string[];
  meaning: { en: string; zh: string };
  value: PolicyValue;
  ceiling: PolicyValue | null;
  zeroIsNone: boolean;
}

export interface Preset {
  name: string;
  meaning: { en: string; zh: string };
  policy: Policy;
}

export interface PolicyTable {
  fields: Field[];
  presets: Preset[];
}

export interface Session {
  id: string;
  state: "starting" | "idle" | "busy" | "ended";
  created_at: string | number;
  used_at: string | number;
  executions: number;
  idle_timeout_s: number;
  policy: Policy;
  template: Result["template"];
  memory_bytes: number | null;
}

export interface Variable {
  name: string;
  type: string;
  size: number | null;
  preview: string;
}

export interface Row {
  id: string;
  at: string | number;
  caller: string | null;
  session: string | null;
  filename: string | null;
  status: Status;
  wall_ms: number | null;
  cpu_ms: number | null;
  memory_peak_bytes: number | null;
  denials: number | null;
  code: string;
  preset: string | null;
}

export interface Recorded extends Result {
  at: string | number | null;
  code: string;
  preset: string | null;
  caller: string | null;
  filename: string | null;
  mac: string | null;
}

export interface Wall {
  name: string;
  stands: boolean;
  enforced: string;
  probed_with: string;
  detail: string;
  remedy: string | null;
}

export interface Doctor {
  ok: boolean;
  version: string;
  kernel: string;
  machine: string;
  root: boolean;
  walls: Wall[];
}
