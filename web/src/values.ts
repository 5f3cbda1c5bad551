// SPDX-License-Identifier: MIT
// Frames, series and arrays (docs/results.md) as rows of text. The program wrote them: every member is checked, and
// what does not fit is shown as a question mark.
import { base64ToBytes } from "./format";
import { isRecord, list, number, record, text } from "./shape";
import type { Json } from "./types";

export interface Table {
  columns: string[];
  index: string[];
  rows: string[][];
  numeric: boolean[];
  moreRows: number;
  moreColumns: number;
}

const ROWS = 200;
const COLUMNS = 60;

export function cell(v: Json | undefined): string {
  if (v === null || v === undefined) return "";
  if (typeof v === "string") return v.length > 200 ? v.slice(0, 200) + "…" : v;
  if (typeof v === "number") return Number.isInteger(v) ? String(v) : String(Number(v.toPrecision(8)));
  if (typeof v === "boolean") return v ? "True" : "False";
  if (isRecord(v)) {
    const type = v["$type"];
    if (type === "pandas.NaT") return "NaT";
    if (type === "pandas.NA") return "<NA>";
    const value = v["value"];
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return cell(value);
    if (type === "complex") return `${text(v["real"], cell(v["real"]))}+${cell(v["imag"])}j`;
    if (Array.isArray(v["items"])) return `(${v["items"].slice(0, 20).map(cell).join(", ")})`;
  }
  if (Array.isArray(v)) return `[${v.slice(0, 20).map(cell).join(", ")}]`;
  return "?";
}

const UNITS: Record<string, number> = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };

/** The first `most` elements of a numpy.ndarray as text, and how many there are. */
export function array(v: Json | undefined, most: number): { items: string[]; count: number; numeric: boolean } {
  const a = record(v);
  const count = list(a["shape"]).reduce<number>((n, x) => n * number(x, 1), 1);
  if (Array.isArray(a["items"])) return { items: a["items"].slice(0, most).map(cell), count, numeric: false };
  const dtype = text(a["dtype"]);
  const bytes = base64ToBytes(text(a["data"]));
  const m = /^([<>|=])([biufMmUS])(\d+)(?:\[(\w+)\])?$/.exec(dtype);
  if (!bytes || !m) return { items: [], count, numeric: false };
  const little = m[1] !== ">";
  const kind = m[2] ?? "";
  const size = Number(m[3]) * (kind === "U" ? 4 : 1);
  const view = new DataView(bytes.buffer);
  const items: string[] = [];
  for (let i = 0; i < Math.min(count, most) && size > 0 && (i + 1) * size <= bytes.length; i++) {
    const at = i * size;
    if (kind === "b") items.push(view.getUint8(at) ? "True" : "False");
    else if (kind === "f") {
      const x = size === 8 ? view.getFloat64(at, little) : size === 4 ? view.getFloat32(at, little) : NaN;
      items.push(Number.isNaN(x) ? "NaN" : cell(x));
    } else if (kind === "i" || kind === "M" || kind === "m") {
      const x = size === 8 ? view.getBigInt64(at, little) : BigInt(size === 4 ? view.getInt32(at, little) : size === 2 ? view.getInt16(at, little) : view.getInt8(at));
      if (kind === "i") items.push(x.toString());
      else if (x === -(2n ** 63n)) items.push("NaT");
      else if (kind === "M") {
        const date = new Date(Number(x) * (UNITS[m[4] ?? "ns"] ?? (m[4] === "D" ? 86_400_000 : NaN)));
        items.push(Number.isNaN(date.getTime()) ? "?" : date.toISOString().replace("T", " ").replace(/(:00)?\.000Z$|Z$/, (s) => (s.startsWith(":00") ? ":00" : "")));
      } else items.push(`${x} ${m[4] ?? "ns"}`);
    } else if (kind === "u") {
      const x = size === 8 ? view.getBigUint64(at, little) : size === 4 ? view.getUint32(at, little) : size === 2 ? view.getUint16(at, little) : view.getUint8(at);
      items.push(String(x));
    } else if (kind === "U") {
      let s = "";
      for (let j = 0; j < size; j += 4) {
        const c = view.getUint32(at + j, little);
        if (c && c <= 0x10ffff) s += String.fromCodePoint(c);
      }
      items.push(s);
    } else items.push("?");
  }
  return { items, count, numeric: kind === "f" || kind === "i" || kind === "u" };
}

function column(v: Json | undefined, most: number): { items: string[]; count: number; numeric: boolean } {
  const c = record(v);
  if (c["dtype"] === "category") {
    const codes = array(c["codes"], most);
    const categories = column(c["categories"], 10_000).items;
    return { items: codes.items.map((k) => categories[Number(k)] ?? ""), count: codes.count, numeric: false };
  }
  const values = c["values"];
  if (Array.isArray(values)) {
    const numeric = values.length > 0 && values.every((x) => typeof x === "number" || x === null);
    return { items: values.slice(0, most).map(cell), count: values.length, numeric };
  }
  return array(values, most);
}

function index(v: Json | undefined, most: number): { items: string[]; count: number } {
  const i = record(v);
  if (i["kind"] === "range") {
    const start = number(i["start"]);
    const step = number(i["step"], 1) || 1;
    const count = Math.max(0, Math.ceil((number(i["stop"]) - start) / step));
    return { items: Array.from({ length: Math.min(count, most) }, (_, k) => String(start + k * step)), count };
  }
  if (i["kind"] === "multi") {
    const levels = list(i["levels"]).map((l) => column(l, most));
    const first = levels[0];
    return { items: (first?.items ?? []).map((_, k) => levels.map((l) => l.items[k] ?? "").join(", ")), count: first?.count ?? 0 };
  }
  return column(i, most);
}

/** Null: this is no frame, series or array of one or two dimensions. */
export function toTable(v: Json | undefined): Table | null {
  if (!isRecord(v)) return null;
  const type = v["$type"];
  if (type === "pandas.DataFrame") {
    const rows = index(v["index"], ROWS);
    const names = index(v["columns"], COLUMNS);
    const columns = list(v["data"]).slice(0, COLUMNS).map((c) => column(c, ROWS));
    return {
      columns: names.items.slice(0, columns.length),
      index: rows.items,
      rows: rows.items.map((_, r) => columns.map((c) => c.items[r] ?? "")),
      numeric: columns.map((c) => c.numeric),
      moreRows: Math.max(0, rows.count - rows.items.length),
      moreColumns: Math.max(0, names.count - columns.length),
    };
  }
  if (type === "pandas.Series") {
    const rows = index(v["index"], ROWS);
    const values = column(v["data"], ROWS);
    return {
      columns: [cell(v["name"]) || "–"],
      index: rows.items,
      rows: rows.items.map((_, r) => [values.items[r] ?? ""]),
      numeric: [values.numeric],
      moreRows: Math.max(0, rows.count - rows.items.length),
      moreColumns: 0,
    };
  }
  return null;
}

/** A chart's series as a table: x and y beside each other. */
export function chartTable(v: Json): Table | null {
  const axes = list(record(v)["axes"]).map(record);
  const series = axes.flatMap((a) => list(a["series"]).map(record));
  if (!series.length) return null;
  const columns: string[] = [];
  const data: string[][] = [];
  series.slice(0, COLUMNS / 2).forEach((s, i) => {
    const label = text(s["label"], `${i + 1}`);
    for (const key of ["x", "y"])
      if (Array.isArray(s[key])) {
        columns.push(`${label} ${key}`);
        data.push(s[key].map(cell));
      }
  });
  const count = Math.max(0, ...data.map((d) => d.length));
  const shown = Math.min(count, ROWS);
  return {
    columns,
    index: Array.from({ length: shown }, (_, i) => String(i)),
    rows: Array.from({ length: shown }, (_, i) => data.map((d) => d[i] ?? "")),
    numeric: columns.map(() => true),
    moreRows: count - shown,
    moreColumns: 0,
  };
}
