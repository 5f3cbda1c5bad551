// SPDX-License-Identifier: MIT
// Reads the Prometheus text of /metrics as far as the page draws it.

export interface Metric {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export function parseMetrics(text: string): Metric[] {
  const out: Metric[] = [];
  for (const line of text.slice(0, 1 << 20).split("\n")) {
    const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (!m || line.startsWith("#")) continue;
    const labels: Record<string, string> = {};
    for (const l of (m[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[l[1] ?? ""] = (l[2] ?? "").replace(/\\(.)/g, "$1");
    const value = m[3] === "+Inf" ? Infinity : Number(m[3]);
    if (!Number.isNaN(value)) out.push({ name: m[1] ?? "", labels, value });
  }
  return out;
}

export interface Bucket {
  le: number;
  count: number;
}

/** The histogram of runs' wall time: buckets with what falls into each, not what lies below. In milliseconds. */
export function latency(metrics: Metric[]): Bucket[] {
  const names = [...new Set(metrics.filter((m) => m.name.endsWith("_bucket")).map((m) => m.name))];
  const name = names.find((n) => /execution_run|wall/.test(n)) ?? names[0];
  if (!name) return [];
  const scale = name.includes("seconds") ? 1000 : 1;
  const sums = new Map<number, number>();
  for (const m of metrics) {
    if (m.name !== name) continue;
    const le = m.labels["le"] === "+Inf" ? Infinity : Number(m.labels["le"]) * scale;
    sums.set(le, (sums.get(le) ?? 0) + m.value);
  }
  let before = 0;
  return [...sums.entries()]
    .sort((a, b) => a[0] - b[0])
    .map(([le, total]) => {
      const count = Math.max(0, total - before);
      before = total;
      return { le, count };
    });
}

export function total(metrics: Metric[]): number {
  return metrics.filter((m) => /executions(_finished)?_total$|runs_total$/.test(m.name)).reduce((n, m) => n + m.value, 0);
}
