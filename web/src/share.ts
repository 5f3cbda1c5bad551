// SPDX-License-Identifier: MIT
// Code and policy in the fragment of a link: never sent to a server, bounded when it is unpacked.
import { base64ToBytes } from "./format";
import { checkPolicy } from "./policy";
import { isRecord } from "./shape";
import type { Json, Policy } from "./types";

const UNPACKED_MAX = 2 * 1024 * 1024;

async function through(data: Uint8Array<ArrayBuffer>, by: GenericTransformStream, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const out: Uint8Array[] = [];
  let length = 0;
  const reader = (new Blob([data]).stream().pipeThrough(by as ReadableWritablePair<Uint8Array, Uint8Array>)).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw new Error("too large");
    }
    out.push(value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of out) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export async function toFragment(code: string, policy: { preset: string; policy?: Policy }): Promise<string> {
  const json = JSON.stringify({ code, ...policy });
  const packed = await through(new TextEncoder().encode(json), new CompressionStream("deflate-raw"), UNPACKED_MAX);
  let raw = "";
  for (const byte of packed) raw += String.fromCharCode(byte);
  return `link=${btoa(raw).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

export async function fromFragment(text: string): Promise<{ code: string; preset: string; changes: Policy } | null> {
  const packed = base64ToBytes(text.replaceAll("-", "+").replaceAll("_", "/"));
  if (!packed) return null;
  try {
    const json = await through(packed, new DecompressionStream("deflate-raw"), UNPACKED_MAX);
    const value = JSON.parse(new TextDecoder().decode(json)) as Json;
    if (!isRecord(value) || typeof value["code"] !== "string") return null;
    const whole: { [key: string]: Json } = { preset: value["preset"] ?? "strict" };
    if (isRecord(value["policy"])) Object.assign(whole, value["policy"]);
    return { code: value["code"], ...checkPolicy(whole) };
  } catch {
    return null;
  }
}
