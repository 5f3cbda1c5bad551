// SPDX-License-Identifier: MIT
// The only place that talks to the server: same origin, the token in Authorization and nowhere else.
import { signal } from "@preact/signals";
import { isRecord, toProblem } from "./shape";
import type { Json, Problem, StreamLine } from "./types";

const TOKEN_KEY = "sandbox.token";

function stored(): string {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? "";
  } catch {
    return "";
  }
}

let token = stored();

/** Whether the server refused us for want of a token: the page asks for it. */
export const locked = signal(false);
/** Whether the server is there at all. */
export const offline = signal(false);

export function setToken(value: string): void {
  token = value;
  try {
    if (value) sessionStorage.setItem(TOKEN_KEY, value);
    else sessionStorage.removeItem(TOKEN_KEY);
  } catch {
    // Without storage it lasts as long as this page.
  }
}

export const hasToken = (): boolean => token !== "";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.message);
  }
}

export interface Options {
  method?: string;
  body?: Json | Blob | undefined;
  accept?: string;
  signal?: AbortSignal;
}

async function request(path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: options.accept ?? "application/json" };
  if (token) headers["Authorization"] = `Bearer ${token}`;
  const init: RequestInit = {
    method: options.method ?? "GET",
    headers,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  };
  if (options.signal) init.signal = options.signal;
  if (options.body instanceof Blob) {
    headers["Content-Type"] = "application/octet-stream";
    init.body = options.body;
  } else if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(options.body);
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    offline.value = true;
    throw new ApiError(0, { name: "Unreachable", message: "", field: null });
  }
  offline.value = false;
  if (response.status === 401) locked.value = true;
  return response;
}

async function failure(response: Response): Promise<ApiError> {
  let body: Json = null;
  try {
    body = (await response.json()) as Json;
  } catch {
    // An answer without JSON has its status to say.
  }
  return new ApiError(response.status, toProblem(body, response.status));
}

/** The JSON of an answer; a refusal is an ApiError, except a result that came with an error's status. */
export async function call(path: string, options: Options = {}): Promise<Json> {
  const response = await request(path, options);
  if (!response.ok) throw await failure(response);
  if (response.status === 204) return null;
  const text = await response.text();
  return text ? (JSON.parse(text) as Json) : null;
}

export async function callText(path: string, accept: string): Promise<string> {
  const response = await request(path, { accept });
  if (!response.ok) throw await failure(response);
  return response.text();
}

export async function callBlob(path: string): Promise<Blob> {
  const response = await request(path, { accept: "*/*" });
  if (!response.ok) throw await failure(response);
  return response.blob();
}

const LINE_MAX = 96 * 1024 * 1024;

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      let text = decoder.decode(value, { stream: true });
      let end: number;
      while ((end = text.indexOf("\n")) >= 0) {
        parts.push(text.slice(0, end));
        yield parts.join("");
        parts = [];
        length = 0;
        text = text.slice(end + 1);
      }
      parts.push(text);
      length += text.length;
      if (length > LINE_MAX) throw new Error("a line of the stream is too long");
    }
    const rest = parts.join("") + decoder.decode();
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Lines of JSON as they come. */
export async function* stream(path: string, options: Options): AsyncGenerator<StreamLine> {
  const response = await request(path, { ...options, accept: "application/x-ndjson" });
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.startsWith("application/x-ndjson") || !response.body) {
    if (response.ok) {
      yield { type: "result", result: (await response.json()) as never };
      return;
    }
    throw await failure(response);
  }
  for await (const line of lines(response.body)) {
    if (!line) continue;
    const value = JSON.parse(line) as Json;
    if (isRecord(value) && typeof value["type"] === "string") yield value as unknown as StreamLine;
  }
}

export const pathOf = (...parts: string[]): string =>
  "/v1/" + parts.map((p) => p.split("/").map(encodeURIComponent).join("/")).join("/");

export function query(path: string, values: Record<string, string | number | null | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) if (value !== null && value !== undefined && value !== "") search.set(key, String(value));
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}
