// SPDX-License-Identifier: MIT
import { effect, signal } from "@preact/signals";
import { en, zh, type Key } from "./messages";

export type Language = "en" | "zh";

const KEY = "sandbox.language";

function first(): Language {
  let chosen: string | null = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // The browser's own, then.
  }
  return (chosen ?? navigator.language).startsWith("zh") ? "zh" : "en";
}

export const language = signal<Language>(first());

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
  document.title = (language.value === "zh" ? zh : en).app;
});

export function setLanguage(value: Language): void {
  language.value = value;
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // It lasts as long as this page.
  }
}

export const locale = (): string => (language.value === "zh" ? "zh-CN" : "en-GB");

/** The text of a key; reading it subscribes to the language. */
export function t(key: Key, values?: Record<string, string | number>): string {
  const text = (language.value === "zh" ? zh : en)[key];
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole)) : text;
}
