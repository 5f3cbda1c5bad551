// SPDX-License-Identifier: MIT
import { useRef, useState } from "preact/hooks";
import { saveText } from "../format";
import { language, t } from "../i18n";
import type { Key } from "../messages";
import { changes, effective, preset, presetValue, readPolicy, resetField, setField, setPreset, showValue, table, toYaml } from "../policy";
import type { Field, PolicyValue } from "../types";
import { Icon } from "../ui/icons";
import { Button, Chips, Dialog, Empty, Marked, Segmented, Switch } from "../ui/parts";
import { copyLink } from "./run";

const GROUPS: [Key, string[]][] = [
  ["group_limits", ["max_memory_mb", "max_cpu_percent", "max_execution_time", "max_cpu_time", "max_processes", "max_output_bytes", "max_disk_mb", "max_open_files"]],
  ["group_files", ["allow_file_operations", "allowed_directories"]],
  ["group_network", ["network_access", "allowed_hosts"]],
  ["group_modules", ["allow_imports", "allowed_modules", "allow_subprocess"]],
  ["group_interpreter", ["python", "preload", "environment"]],
];

function NumberField({ field, value }: { field: Field; value: number }) {
  const [bad, setBad] = useState("");
  const most = typeof field.ceiling === "number" && field.ceiling > 0 ? field.ceiling : (field.max ?? Infinity);
  const read = (text: string): void => {
    const n = Number(text);
    if (text.trim() === "" || !Number.isFinite(n) || (field.type === "integer" && !Number.isInteger(n))) return setBad(t("policy_range", { min: field.min ?? "–", max: most }));
    if (!(n === 0 && field.zeroIsNone) && (n < (field.min ?? -Infinity) || n > (field.max ?? Infinity))) return setBad(t("policy_range", { min: field.min ?? "–", max: field.max ?? "–" }));
    if (typeof field.ceiling === "number" && field.ceiling > 0 && (n > field.ceiling || (n === 0 && field.zeroIsNone))) return setBad(t("policy_over", { value: showValue(field, field.ceiling) }));
    setBad("");
    setField(field.name, n);
  };
  return (
    <div class="number">
      <div class={`input-unit ${bad ? "bad" : ""}`}>
        <input id={`f-${field.name}`} type="text" inputMode="decimal" value={String(value)} aria-invalid={bad !== ""} aria-describedby={`d-${field.name}`} onInput={(e) => read(e.currentTarget.value)} />
        {field.unit && <span aria-hidden="true">{field.unit}</span>}
      </div>
      {bad && (
        <p class="complaint" role="alert">
          {bad}
        </p>
      )}
    </div>
  );
}

function MapField({ field, value }: { field: Field; value: Record<string, string> }) {
  const [key, setKey] = useState("");
  const [text, setText] = useState("");
  const add = (): void => {
    if (!key.trim()) return;
    setField(field.name, { ...value, [key.trim()]: text });
    setKey("");
    setText("");
  };
  return (
    <div class="mapping">
      {Object.entries(value).map(([k, v]) => (
        <div class="pair" key={k}>
          <code>{k}</code>
          <input value={v} aria-label={`${t("policy_value")} ${k}`} onInput={(e) => setField(field.name, { ...value, [k]: e.currentTarget.value })} />
          <Button
            icon="close"
            kind="quiet"
            label={t("remove_item", { name: k })}
            onClick={() => setField(field.name, Object.fromEntries(Object.entries(value).filter(([x]) => x !== k)))}
          />
        </div>
      ))}
      <div class="pair">
        <input value={key} placeholder={t("policy_key")} aria-label={t("policy_key")} onInput={(e) => setKey(e.currentTarget.value)} />
        <input value={text} placeholder={t("policy_value")} aria-label={t("policy_value")} onInput={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => e.key === "Enter" && add()} />
        <Button icon="plus" kind="quiet" label={t("add")} onClick={add} />
      </div>
    </div>
  );
}

function Input({ field, value }: { field: Field; value: PolicyValue }) {
  switch (field.type) {
    case "integer":
    case "number":
      return <NumberField field={field} value={typeof value === "number" ? value : 0} />;
    case "boolean":
      return <Switch label={field.name} checked={value === true} disabled={field.ceiling === false} onChange={(v) => setField(field.name, v)} />;
    case "list": {
      const base = presetValue(field.name);
      return <Chips label={field.name} items={Array.isArray(value) ? value : []} baseline={Array.isArray(base) ? base : []} onChange={(v) => setField(field.name, v)} />;
    }
    case "map":
      return <MapField field={field} value={typeof value === "object" && !Array.isArray(value) ? value : {}} />;
    case "choice":
      return <Segmented label={field.name} value={String(value)} options={field.choices.map((c) => [c, c] as const)} onChange={(v) => setField(field.name, v)} />;
    case "string":
      return <input id={`f-${field.name}`} class="text" aria-describedby={`d-${field.name}`} value={String(value)} onInput={(e) => setField(field.name, e.currentTarget.value)} />;
  }
}

function FieldRow({ field }: { field: Field }) {
  const value = effective.value[field.name] ?? field.value;
  const changed = field.name in changes.value;
  const labelled = field.type === "integer" || field.type === "number" || field.type === "string";
  return (
    <div class={`field ${changed ? "changed" : ""}`} data-field={field.name}>
      <div class="field-text">
        {labelled ? (
          <label class="field-name" for={`f-${field.name}`}>
            {field.name}
          </label>
        ) : (
          <span class="field-name">{field.name}</span>
        )}
        <p id={`d-${field.name}`}>
          <Marked text={field.meaning[language.value]} />
        </p>
      </div>
      <div class="field-input">
        <Input field={field} value={value} />
        <p class="field-note">
          {changed && (
            <>
              {t("policy_default", { value: showValue(field, presetValue(field.name)) })}
              <button type="button" class="textlink" onClick={() => resetField(field.name)} aria-label={`${t("policy_reset")} ${field.name}`}>
                {t("policy_reset")}
              </button>
            </>
          )}
          {field.ceiling !== null && <span class="ceiling">{t("policy_ceiling", { value: showValue(field, field.ceiling) })}</span>}
        </p>
      </div>
    </div>
  );
}

function Import({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [bad, setBad] = useState("");
  const file = useRef<HTMLInputElement>(null);
  const apply = (document: string): void => {
    try {
      const read = readPolicy(document);
      preset.value = read.preset;
      changes.value = read.changes;
      onClose();
    } catch (e) {
      setBad(t("policy_bad", { why: (e instanceof Error ? e.message : String(e)).split("\n")[0] ?? "" }));
    }
  };
  return (
    <Dialog title={t("policy_import")} onClose={onClose}>
      <label class="block">
        {t("policy_import_text")}
        <textarea rows={10} value={text} spellcheck={false} onInput={(e) => setText(e.currentTarget.value)} data-testid="import-text" placeholder={"preset: data\nmax_memory_mb: 2048"} />
      </label>
      {bad && (
        <p class="complaint" role="alert" data-testid="import-error">
          {bad}
        </p>
      )}
      <footer>
        <input
          ref={file}
          type="file"
          class="sr"
          accept=".yaml,.yml,.json"
          aria-label={t("policy_import_file")}
          onChange={(e) => {
            const f = e.currentTarget.files?.[0];
            if (f && f.size <= 1 << 20) void f.text().then((x) => (setText(x), apply(x)));
          }}
        />
        <Button icon="upload" onClick={() => file.current?.click()}>
          {t("policy_import_file")}
        </Button>
        <span class="spacer" />
        <Button kind="primary" onClick={() => apply(text)} testid="import-apply">
          {t("apply")}
        </Button>
      </footer>
    </Dialog>
  );
}

export function PolicyView() {
  const [importing, setImporting] = useState(false);
  const own = table.value;
  if (!own)
    return (
      <div class="page">
        <h1>{t("policy_title")}</h1>
        <Empty>{t("loading")}</Empty>
      </div>
    );
  const known = new Set(GROUPS.flatMap(([, names]) => names));
  const groups = [...GROUPS, ["group_other", own.fields.map((f) => f.name).filter((n) => !known.has(n))] as [Key, string[]]];
  const meaning = own.presets.find((p) => p.name === preset.value)?.meaning[language.value];
  const changed = Object.entries(changes.value);
  return (
    <div class="page policy">
      <div class="page-head">
        <h1>{t("policy_title")}</h1>
        <span class="spacer" />
        <Button icon="upload" onClick={() => setImporting(true)} testid="import">
          {t("policy_import")}
        </Button>
        <Button icon="download" onClick={() => saveText(toYaml(), "policy.yaml")} testid="export">
          {t("policy_export")}
        </Button>
        <Button icon="link" onClick={() => void copyLink()}>
          {t("policy_link")}
        </Button>
      </div>
      <div class="policy-top">
        <Segmented label={t("preset")} value={preset.value} options={own.presets.map((p) => [p.name, p.name] as const)} onChange={setPreset} testid="policy-preset" />
        <p class="muted">{meaning}</p>
        <div class="changes" data-testid="changes">
          <span class="muted">{changed.length ? t("policy_changes", { preset: preset.value }) : t("policy_unchanged", { preset: preset.value })}</span>
          {changed.map(([name, value]) => {
            const field = own.fields.find((f) => f.name === name);
            const before = presetValue(name);
            const shown =
              Array.isArray(value) && Array.isArray(before)
                ? [...value.filter((x) => !before.includes(x)).map((x) => `+${x}`), ...before.filter((x) => !value.includes(x)).map((x) => `−${x}`)].join(" ")
                : `${showValue(field, before)} → ${showValue(field, value)}`;
            return (
              <span class="chip new" key={name}>
                <span class="chip-text">
                  <b>{name}</b> {shown}
                </span>
                <button type="button" aria-label={`${t("policy_reset")} ${name}`} onClick={() => resetField(name)}>
                  <Icon name="close" />
                </button>
              </span>
            );
          })}
          {changed.length > 1 && (
            <button type="button" class="textlink" onClick={() => (changes.value = {})}>
              {t("policy_reset_all")}
            </button>
          )}
        </div>
      </div>
      {groups.map(([title, names]) => {
        const fields = names.map((n) => own.fields.find((f) => f.name === n)).filter((f) => f !== undefined);
        if (!fields.length) return null;
        return (
          <section class="card group" key={title} aria-label={t(title)}>
            <header>
              <h2>{t(title)}</h2>
            </header>
            {fields.map((f) => (
              <FieldRow field={f} key={f.name} />
            ))}
          </section>
        );
      })}
      {importing && <Import onClose={() => setImporting(false)} />}
    </div>
  );
}

