// SPDX-License-Identifier: MIT
// Cells as files that others open: a notebook (nbformat 4.5) and a script in the percent format.
import type { Run } from "./run";
import type { Json } from "./types";

export interface Cell {
  key: string;
  code: string;
  run: Run | null;
  count: number | null;
}

const split = (s: string): string[] => s.split(/(?<=\n)/);

function outputs(run: Run, count: number | null): Json[] {
  const r = run.result.peek();
  if (!r) return [];
  const out: Json[] = [];
  if (r.stdout) out.push({ output_type: "stream", name: "stdout", text: split(r.stdout) });
  if (r.stderr && !(r.error && r.stderr === r.error.traceback)) out.push({ output_type: "stream", name: "stderr", text: split(r.stderr) });
  r.displays.forEach((b, i) => {
    const data = b as Json;
    if (i === r.result_display) out.push({ output_type: "execute_result", execution_count: count, data, metadata: {} });
    else out.push({ output_type: "display_data", data, metadata: {} });
  });
  if (r.result_repr !== null && r.result_source !== null && (r.result_display === null || r.result_display === undefined))
    out.push({ output_type: "execute_result", execution_count: count, data: { "text/plain": r.result_repr }, metadata: {} });
  if (r.error)
    out.push({ output_type: "error", ename: r.error.name, evalue: r.error.value, traceback: r.error.traceback ? r.error.traceback.split("\n") : [] });
  return out;
}

export function toIpynb(cells: Cell[], version: string): string {
  return JSON.stringify(
    {
      nbformat: 4,
      nbformat_minor: 5,
      metadata: {
        kernelspec: { name: "python3", display_name: "Python 3", language: "python" },
        language_info: { name: "python", ...(version ? { version } : {}) },
      },
      cells: cells.map((c) => ({
        id: c.key,
        cell_type: "code",
        metadata: {},
        execution_count: c.count,
        source: split(c.code),
        outputs: c.run ? outputs(c.run, c.count) : [],
      })),
    },
    null,
    1,
  );
}

export const toScript = (cells: Cell[]): string => cells.map((c) => `# %%\n${c.code.replace(/\n*$/, "\n")}`).join("\n");
