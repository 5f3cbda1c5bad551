// SPDX-License-Identifier: MIT
// Lines of two texts beside each other (longest common subsequence; bounded).

export interface DiffLine {
  kind: "same" | "old" | "new";
  text: string;
}

const LINES_MAX = 1500;

export function diffLines(a: string, b: string): DiffLine[] {
  const x = a.split("\n").slice(0, LINES_MAX);
  const y = b.split("\n").slice(0, LINES_MAX);
  let head = 0;
  while (head < x.length && head < y.length && x[head] === y[head]) head++;
  let tail = 0;
  while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) tail++;
  const p = x.slice(head, x.length - tail);
  const q = y.slice(head, y.length - tail);
  const width = q.length + 1;
  const best = new Uint16Array((p.length + 1) * width);
  for (let i = p.length - 1; i >= 0; i--)
    for (let j = q.length - 1; j >= 0; j--)
      best[i * width + j] = p[i] === q[j] ? (best[(i + 1) * width + j + 1] ?? 0) + 1 : Math.max(best[(i + 1) * width + j] ?? 0, best[i * width + j + 1] ?? 0);
  const out: DiffLine[] = x.slice(0, head).map((text) => ({ kind: "same", text }));
  let i = 0;
  let j = 0;
  while (i < p.length || j < q.length) {
    if (i < p.length && j < q.length && p[i] === q[j]) {
      out.push({ kind: "same", text: p[i] ?? "" });
      i++;
      j++;
    } else if (i < p.length && (j === q.length || (best[(i + 1) * width + j] ?? 0) >= (best[i * width + j + 1] ?? 0))) out.push({ kind: "old", text: p[i++] ?? "" });
    else out.push({ kind: "new", text: q[j++] ?? "" });
  }
  for (const text of x.slice(x.length - tail)) out.push({ kind: "same", text });
  return out;
}
