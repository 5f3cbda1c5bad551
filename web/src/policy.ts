// SPDX-License-Identifier: MIT
// The policy of the next run: a preset and what was changed from it. The server decides; this only writes it down.
import { computed, signal } from "@preact/signals";
import { CORE_SCHEMA, load } from "js-yaml";
import { t } from "./i18n";
import { isRecord, policyValue } from "./shape";
import type { Change, Field, Json, Policy, PolicyTable, PolicyValue, Status } from "./types";

export const table = signal<PolicyTable | null>(null);
export const preset = signal("strict");
export const changes = signal<Policy>({});

export const same = (a: PolicyValue | undefined, b: PolicyValue | undefined): boolean =>
  JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

export function fieldOf(name: string): Field | undefined {
  return table.value?.fields.find((f) => f.name === name);
}

export function presetValue(name: string, of = preset.value): PolicyValue | undefined {
  const p = table.value?.presets.find((x) => x.name === of);
  return p?.policy[name] ?? fieldOf(name)?.value;
}

export const effective = computed<Policy>(() => {
  const made: Policy = {};
  for (const f of table.value?.fields ?? []) {
    const value = changes.value[f.name] ?? presetValue(f.name);
    if (value !== undefined) made[f.name] = value;
  }
  return { ...made, ...changes.value };
});

export function setField(name: string, value: PolicyValue): void {
  const next = { ...changes.value };
  if (same(value, presetValue(name))) delete next[name];
  else next[name] = value;
  changes.value = next;
}

export function resetField(name: string): void {
  const next = { ...changes.value };
  delete next[name];
  changes.value = next;
}

export function setPreset(name: string): void {
  preset.value = name;
  const next: Policy = {};
  for (const [field, value] of Object.entries(changes.value)) if (!same(value, presetValue(field, name))) next[field] = value;
  changes.value = next;
}

/** A whole policy, as a result has it, becomes the preset with the fewest changes. */
export function adopt(whole: Policy, name: string | null): void {
  const presets = table.value?.presets ?? [];
  const differing = (of: string): Policy => {
    const out: Policy = {};
    for (const f of table.value?.fields ?? []) {
      const value = whole[f.name];
      if (value === undefined || same(value, presetValue(f.name, of))) continue;
      // Values of the environment are not in results; the resolved interpreter is no choice of anybody.
      if (f.name === "environment" || (f.name === "python" && presetValue("python", of) === "")) continue;
      out[f.name] = value;
    }
    return out;
  };
  let best = name && presets.some((p) => p.name === name) ? name : null;
  if (!best) {
    let least = Infinity;
    for (const p of presets) {
      const n = Object.keys(differing(p.name)).length;
      if (n < least) {
        least = n;
        best = p.name;
      }
    }
  }
  if (!best) return;
  preset.value = best;
  changes.value = differing(best);
}

/** What a request carries. */
export const asRequest = (): { preset: string; policy?: Policy } =>
  Object.keys(changes.value).length ? { preset: preset.value, policy: changes.value } : { preset: preset.value };

// ---- limits and remedies ----

export function showValue(field: Field | undefined, value: PolicyValue | null | undefined): string {
  if (value === null || value === undefined) return t("none");
  if (typeof value === "boolean") return value ? t("policy_allowed") : t("policy_denied");
  if (typeof value === "number") {
    if (value === 0 && field?.zeroIsNone) return t("no_limit");
    return field?.unit ? `${value} ${field.unit}` : String(value);
  }
  if (Array.isArray(value)) return value.length ? value.join(", ") : t("none");
  if (typeof value === "object") return Object.keys(value).join(", ") || t("none");
  return value === "" ? "–" : value;
}

const LIMIT_FIELD: Partial<Record<Status, string>> = {
  timeout: "max_execution_time",
  memory: "max_memory_mb",
  cpu: "max_cpu_time",
  processes: "max_processes",
  output: "max_output_bytes",
  disk: "max_disk_mb",
};

export const limitField = (status: Status): string | null => LIMIT_FIELD[status] ?? null;

export interface Remedy {
  text: string;
  field: string;
  value: PolicyValue;
}

/** Doubling is what a person would try next; the ceiling bounds it. Null: there is no way up. */
export function raiseRemedy(status: Status, applied: Policy): Remedy | null {
  const name = limitField(status);
  if (!name) return null;
  const now = applied[name] ?? effective.value[name];
  if (typeof now !== "number" || now <= 0) return null;
  const field = fieldOf(name);
  const ceiling = typeof field?.ceiling === "number" && field.ceiling > 0 ? field.ceiling : (field?.max ?? Infinity);
  const value = Math.min(now * 2, ceiling);
  if (value <= now) return null;
  return { text: t("remedy_raise", { field: name, value: showValue(field, value) }), field: name, value };
}

export function changeRemedy(change: Change, applied: Policy): Remedy | null {
  const now = applied[change.field] ?? effective.value[change.field];
  if (change.add !== undefined) {
    const item = typeof change.add === "string" ? change.add : JSON.stringify(change.add);
    const have = Array.isArray(now) ? now : [];
    if (have.includes(item)) return null;
    return { text: t("remedy_add", { item, field: change.field }), field: change.field, value: [...have, item] };
  }
  const value = policyValue(change.set);
  if (value === null) return null;
  return { text: t("remedy_set", { field: change.field, value: String(change.set) }), field: change.field, value };
}

// ---- YAML ----

/** Values in JSON, which is YAML, too. */
export function toYaml(): string {
  const lines = Object.entries(changes.value).map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
  return `preset: ${preset.value}\n${lines.join("")}`;
}

function fits(field: Field, value: Json): boolean {
  switch (field.type) {
    case "integer":
      return typeof value === "number" && Number.isInteger(value);
    case "number":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    case "string":
      return typeof value === "string";
    case "choice":
      return typeof value === "string" && field.choices.includes(value);
    case "list":
      return Array.isArray(value) && value.every((x) => typeof x === "string");
    case "map":
      return isRecord(value) && Object.values(value).every((x) => typeof x === "string");
  }
}

/** Throws an Error with words for the person. */
export function readPolicy(document: string): { preset: string; changes: Policy } {
  if (document.length > 1 << 20) throw new Error("> 1 MiB");
  const value = load(document, { schema: CORE_SCHEMA, maxDepth: 8, maxAliases: 0 }) as Json;
  return checkPolicy(value);
}

export function checkPolicy(value: Json): { preset: string; changes: Policy } {
  if (!isRecord(value)) throw new Error(t("policy_wrong_type", { name: "–" }));
  let name = "strict";
  const made: Policy = {};
  for (const [key, x] of Object.entries(value)) {
    if (key === "preset") {
      if (typeof x !== "string" || !table.value?.presets.some((p) => p.name === x))
        throw new Error(t("policy_unknown_preset", { name: String(x) }));
      name = x;
      continue;
    }
    const field = fieldOf(key);
    if (!field) throw new Error(t("policy_unknown_field", { name: key.slice(0, 80) }));
    if (!fits(field, x)) throw new Error(t("policy_wrong_type", { name: key }));
    made[key] = x as PolicyValue;
  }
  for (const [key, x] of Object.entries(made)) if (same(x, presetValue(key, name))) delete made[key];
  return { preset: name, changes: made };
}
