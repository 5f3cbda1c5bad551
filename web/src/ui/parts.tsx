// SPDX-License-Identifier: MIT
// Small parts that several views are made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import type { Key } from "../messages";
import type { Status } from "../types";
import type { Table } from "../values";
import { Icon, type IconName } from "./icons";

export function Button(props: {
  children?: ComponentChildren;
  icon?: IconName;
  onClick: (e: MouseEvent) => void;
  kind?: "primary" | "danger" | "quiet" | "remedy";
  label?: string;
  disabled?: boolean;
  pressed?: boolean;
  testid?: string;
  title?: string;
}) {
  return (
    <button
      type="button"
      class={`button ${props.kind ?? ""} ${props.children ? "" : "only-icon"}`}
      onClick={props.onClick}
      disabled={props.disabled}
      aria-label={props.label}
      title={props.title ?? props.label}
      aria-pressed={props.pressed}
      data-testid={props.testid}
    >
      {props.icon && <Icon name={props.icon} />}
      {props.children}
    </button>
  );
}

export function Select<T extends string>(props: { label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (v: T) => void; testid?: string }) {
  return (
    <label class="select">
      <span class="select-label">{props.label}</span>
      <select value={props.value} onChange={(e) => props.onChange(e.currentTarget.value as T)} data-testid={props.testid}>
        {props.options.map(([value, text]) => (
          <option value={value} key={value}>
            {text}
          </option>
        ))}
      </select>
      <Icon name="down" />
    </label>
  );
}

export function Segmented<T extends string>(props: { label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (v: T) => void; testid?: string }) {
  const name = useId();
  return (
    <fieldset class="segmented" data-testid={props.testid}>
      <legend class="sr">{props.label}</legend>
      {props.options.map(([value, text]) => (
        <label key={value} class={value === props.value ? "on" : ""}>
          <input type="radio" name={name} value={value} checked={value === props.value} onChange={() => props.onChange(value)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Switch(props: { label: string; checked: boolean; onChange: (v: boolean) => void; disabled?: boolean }) {
  return (
    <label class="switch">
      <input type="checkbox" role="switch" aria-label={props.label} checked={props.checked} disabled={props.disabled} onChange={(e) => props.onChange(e.currentTarget.checked)} />
      <span class="track" aria-hidden="true" />
      <span class="switch-state">{props.checked ? t("policy_allowed") : t("policy_denied")}</span>
    </label>
  );
}

export function Chips(props: { label: string; items: string[]; onChange: (items: string[]) => void; baseline?: string[] }) {
  const [draft, setDraft] = useState("");
  const add = (): void => {
    const more = draft.split(",").map((x) => x.trim()).filter((x) => x && !props.items.includes(x));
    if (more.length) props.onChange([...props.items, ...new Set(more)]);
    setDraft("");
  };
  return (
    <div class="chips" role="group" aria-label={props.label}>
      {props.items.map((item) => (
        <span class={`chip ${props.baseline && !props.baseline.includes(item) ? "new" : ""}`} key={item}>
          <span class="chip-text">{item}</span>
          <button type="button" aria-label={t("remove_item", { name: item })} onClick={() => props.onChange(props.items.filter((x) => x !== item))}>
            <Icon name="close" />
          </button>
        </span>
      ))}
      <input
        class="chip-input"
        value={draft}
        placeholder={t("add")}
        aria-label={t("policy_add_item", { name: props.label })}
        onInput={(e) => setDraft(e.currentTarget.value)}
        onBlur={add}
        onKeyDown={(e) => {
          if (e.key === "Enter" || e.key === ",") {
            e.preventDefault();
            add();
          } else if (e.key === "Backspace" && !draft && props.items.length) props.onChange(props.items.slice(0, -1));
        }}
      />
    </div>
  );
}

const LIMITS = new Set<Status>(["timeout", "memory", "cpu", "processes", "output", "disk"]);
export const tone = (s: Status): string =>
  s === "ok" ? "good" : s === "error" ? "bad" : s === "denied" ? "deny" : LIMITS.has(s) ? "warn" : s === "running" ? "live" : "grey";
const TONE_ICON: Record<string, IconName> = { good: "ok", bad: "error", deny: "deny", warn: "limit", live: "dot", grey: "close" };

export function Pill({ status }: { status: Status }) {
  const kind = tone(status);
  return (
    <span class={`pill ${kind}`} data-status={status}>
      <Icon name={TONE_ICON[kind] ?? "dot"} />
      {t(`st_${status}` as Key)}
    </span>
  );
}

export function Empty(props: { title?: string; children: ComponentChildren; icon?: IconName }) {
  return (
    <div class="empty">
      {props.icon && <Icon name={props.icon} />}
      {props.title && <h2>{props.title}</h2>}
      <p>{props.children}</p>
    </div>
  );
}

export function Card(props: { title?: string; actions?: ComponentChildren; children: ComponentChildren; class?: string; testid?: string }) {
  return (
    <section class={`card ${props.class ?? ""}`} aria-label={props.title} data-testid={props.testid}>
      {(props.title || props.actions) && (
        <header>
          {props.title && <h2>{props.title}</h2>}
          {props.actions && <div class="actions">{props.actions}</div>}
        </header>
      )}
      {props.children}
    </section>
  );
}

export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    element.current?.showModal();
  }, []);
  return (
    <dialog ref={element} class="dialog" aria-label={props.title} onClose={props.onClose} onCancel={props.onClose}>
      <header>
        <h2>{props.title}</h2>
        <Button icon="close" label={t("close")} kind="quiet" onClick={props.onClose} />
      </header>
      {props.children}
    </dialog>
  );
}

export function DataTable({ table, label }: { table: Table; label: string }) {
  return (
    <div class="datatable" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            <td />
            {table.columns.map((c, i) => (
              <th scope="col" key={i} class={table.numeric[i] ? "num" : ""}>
                {c}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((r, i) => (
            <tr key={i}>
              <th scope="row">{table.index[i]}</th>
              {r.map((c, j) => (
                <td key={j} class={table.numeric[j] ? "num" : ""}>
                  {c}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {(table.moreRows > 0 || table.moreColumns > 0) && (
        <p class="note">
          {table.moreRows > 0 && t("rows_more", { n: table.moreRows.toLocaleString() })}
          {table.moreRows > 0 && table.moreColumns > 0 && " · "}
          {table.moreColumns > 0 && t("columns_more", { n: table.moreColumns.toLocaleString() })}
        </p>
      )}
    </div>
  );
}

/** `code` in a text of ours. */
export function Marked({ text }: { text: string }): JSX.Element {
  return <>{text.split("`").map((part, i) => (i % 2 ? <code key={i}>{part}</code> : part))}</>;
}
