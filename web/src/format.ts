// SPDX-License-Identifier: MIT
// Numbers and times as people read them.

export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = n;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${units[unit]}`;
}

export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export function toDate(at: string | number | null): Date | null {
  if (at === null || at === 0 || at === "") return null;
  // Seconds, milliseconds or microseconds since 1970: they are a thousand apart.
  const n = typeof at === "number" ? (at > 1e14 ? at / 1000 : at < 1e11 ? at * 1000 : at) : at;
  const date = new Date(n);
  return Number.isNaN(date.getTime()) ? null : date;
}

export function moment(at: string | number | null, language: string): string {
  const date = toDate(at);
  if (!date) return "–";
  const today = new Date();
  const sameDay = date.toDateString() === today.toDateString();
  return new Intl.DateTimeFormat(language, {
    ...(sameDay ? {} : { month: "short", day: "numeric" }),
    ...(date.getFullYear() === today.getFullYear() ? {} : { year: "numeric" }),
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  }).format(date);
}

export const shortId = (id: string): string => (id.length > 8 ? id.slice(0, 8) : id);

export function firstLine(code: string): string {
  for (const line of code.split("\n", 40)) if (line.trim()) return line.trim().slice(0, 200);
  return "";
}

export function base64ToBytes(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    const raw = atob(text.replace(/\s+/g, ""));
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  } catch {
    return null;
  }
}

export function saveBlob(blob: Blob, name: string): void {
  // Always octets: what a program wrote is never opened as a page of this origin.
  const url = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
  const a = document.createElement("a");
  a.href = url;
  a.download = name.split("/").pop() || "file";
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const saveText = (text: string, name: string): void => saveBlob(new Blob([text]), name);
