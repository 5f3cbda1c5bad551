// SPDX-License-Identifier: MIT
// What the views share: where the page is, what is in the editor, what is running, what the server told of itself.
import { batch, effect, signal } from "@preact/signals";
import { ApiError, call } from "./api";
import { asRequest, effective, preset, table } from "./policy";
import { Run, type RunRequest } from "./run";
import { list, number, policyTable, record } from "./shape";
import type { Json } from "./types";

// ---- where ----

export interface Route {
  view: string;
  args: string[];
}

function parse(hash: string): Route {
  const parts = hash.replace(/^#\/?/, "").split("/").map((p) => {
    try {
      return decodeURIComponent(p);
    } catch {
      return "";
    }
  });
  return { view: parts[0] || "run", args: parts.slice(1) };
}

export const route = signal<Route>(parse(location.hash.startsWith("#/") ? location.hash : ""));

export function go(...parts: string[]): void {
  location.hash = "/" + parts.map(encodeURIComponent).join("/");
}

export const href = (...parts: string[]): string => "#/" + parts.map(encodeURIComponent).join("/");

window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/") || location.hash === "") route.value = parse(location.hash);
});

// ---- theme ----

export type Theme = "auto" | "light" | "dark";

function storedTheme(): Theme {
  const value = document.documentElement.dataset["theme"];
  return value === "light" || value === "dark" ? value : "auto";
}

export const theme = signal<Theme>(storedTheme());
const darkMedia = matchMedia("(prefers-color-scheme: dark)");
export const dark = signal(false);

const decideDark = (): void => {
  dark.value = theme.value === "dark" || (theme.value === "auto" && darkMedia.matches);
  document.documentElement.toggleAttribute("data-dark", dark.value);
};
darkMedia.addEventListener("change", decideDark);

effect(() => {
  const root = document.documentElement;
  if (theme.value === "auto") delete root.dataset["theme"];
  else root.dataset["theme"] = theme.value;
  decideDark();
});

export function setTheme(value: Theme): void {
  theme.value = value;
  try {
    localStorage.setItem("sandbox.theme", value);
  } catch {
    // It lasts as long as this page.
  }
}

// ---- notices ----

export const toast = signal<string>("");
let toastTimer = 0;

export function say(text: string): void {
  toast.value = text;
  clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => (toast.value = ""), 4000);
}

export const complaint = (e: unknown): string =>
  e instanceof ApiError ? e.problem.message || e.problem.name : e instanceof Error ? e.message : String(e);

// ---- the editor's program ----

const CODE_KEY = "sandbox.code";

function draft(): string {
  try {
    return sessionStorage.getItem(CODE_KEY) ?? "";
  } catch {
    return "";
  }
}

export const code = signal(draft());
/** Counts what was put into the editor by other than typing. */
export const codeRevision = signal(0);

export function setCode(text: string): void {
  batch(() => {
    code.value = text;
    codeRevision.value++;
  });
}

/** Where code and policy came from, if not from this person. */
export const origin = signal<{ kind: "link" } | { kind: "history"; id: string } | null>(null);

let draftTimer = 0;
effect(() => {
  const text = code.value;
  clearTimeout(draftTimer);
  draftTimer = window.setTimeout(() => {
    try {
      if (text.length < 1 << 20) sessionStorage.setItem(CODE_KEY, text);
    } catch {
      // A draft that does not fit is not kept.
    }
  }, 300);
});

// ---- runs ----

export const current = signal<Run | null>(null);
/** Finished runs of this page, newest first: the history of a server without a journal. */
export const recent = signal<{ run: Run; at: number; preset: string }[]>([]);

export function remember(run: Run): void {
  recent.value = [{ run, at: Date.now(), preset: preset.peek() }, ...recent.peek()].slice(0, 100);
}

export function startRun(): Run {
  const old = current.peek();
  if (old && old.state.peek() !== "done") void old.stop();
  const run = new Run(code.peek(), effective.peek());
  current.value = run;
  const request: RunRequest = { code: run.code, ...asRequest() };
  void run.start(request).then(() => {
    if (run.result.peek()) remember(run);
  });
  return run;
}

// ---- the server ----

export interface Health {
  running: number;
  queued: number;
  sessions: number;
  templates: { name: string; waiting: number; target: number; running: number }[];
  version: string;
}

export const health = signal<Health | null>(null);

function readHealth(v: Json): Health {
  const r = record(v);
  return {
    running: number(r["running"]),
    queued: number(record(r["admission"])["waiting"]),
    sessions: number(Array.isArray(r["sessions"]) ? r["sessions"].length : r["sessions"]),
    templates: list(r["templates"]).map((x) => {
      const o = record(x);
      const name = typeof x === "string" ? x : String(o["name"] ?? o["python"] ?? o["version"] ?? "–");
      const preload = list(o["preload"]).map(String);
      return {
        name: preload.length ? `${name} (${preload.join(", ")})` : name,
        waiting: number(o["waiting"]),
        target: number(o["target"]),
        running: number(o["running"]),
      };
    }),
    version: typeof r["version"] === "string" ? r["version"] : "",
  };
}

export async function loadHealth(): Promise<void> {
  try {
    health.value = readHealth(await call("/v1/health"));
  } catch {
    // Said by `offline` and `locked`.
  }
}

export async function loadPolicy(): Promise<void> {
  try {
    table.value = policyTable(await call("/v1/policy"));
  } catch {
    table.value = null;
  }
}
