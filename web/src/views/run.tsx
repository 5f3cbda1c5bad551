// SPDX-License-Identifier: MIT
import { useEffect, useRef } from "preact/hooks";
import { Editor, type EditorHandle } from "../editor";
import { examples } from "../examples";
import { shortId } from "../format";
import { language, t } from "../i18n";
import { asRequest, changes, effective, preset, setPreset, table } from "../policy";
import { toFragment } from "../share";
import { code, codeRevision, setCode, current, href, origin, say, startRun } from "../store";
import { Icon } from "../ui/icons";
import { Live } from "../ui/live";
import { Output } from "../ui/output";
import { Button, Card, Select } from "../ui/parts";
import { Verdict } from "../ui/verdict";

export function PolicySummary() {
  const p = effective.value;
  const modules = p["allowed_modules"];
  const hosts = p["allowed_hosts"];
  const n = Object.keys(changes.value).length;
  const parts: string[] = [];
  if (p["max_memory_mb"] !== undefined) parts.push(`${String(p["max_memory_mb"])} MiB`);
  if (p["max_execution_time"] !== undefined) parts.push(`${String(p["max_execution_time"])} s`);
  if (p["max_cpu_percent"] !== undefined) parts.push(`${String(p["max_cpu_percent"])} % CPU`);
  if (p["allow_imports"] === false) parts.push(t("modules_none"));
  else if (Array.isArray(modules)) parts.push(modules.includes("*") ? t("modules_all") : t("modules_n", { n: modules.length }));
  parts.push(p["allow_file_operations"] === true ? t("files_on") : t("files_off"));
  if (p["network_access"] !== true) parts.push(t("no_network"));
  else if (Array.isArray(hosts)) parts.push(hosts.includes("*") ? t("network_all") : t("network_some", { n: hosts.length }));
  return (
    <a class="policy-summary" href={href("policy")} data-testid="policy-summary">
      <Icon name="policy" />
      <span class="parts">{parts.join(" · ")}</span>
      {n > 0 && <span class="badge">{t("changed_n", { n })}</span>}
    </a>
  );
}

export async function copyLink(): Promise<void> {
  const url = `${location.origin}${location.pathname}#${await toFragment(code.peek(), asRequest())}`;
  try {
    await navigator.clipboard.writeText(url);
  } catch {
    // Without the right to the clipboard the address bar has it.
    history.replaceState(null, "", url);
  }
  say(t("share_done"));
}

function ExamplesMenu() {
  return (
    <label class="select menu">
      <span class="select-label">{t("examples")}</span>
      <select
        value=""
        onChange={(e) => {
          const example = examples[Number(e.currentTarget.value)];
          e.currentTarget.value = "";
          if (!example) return;
          setCode(example.code);
          origin.value = null;
          setPreset(example.preset);
        }}
        aria-label={t("examples")}
        data-testid="examples"
      >
        <option value="" hidden />
        {examples.map((x, i) => (
          <option value={i} key={x.title}>
            {t(x.title)}
          </option>
        ))}
      </select>
      <Icon name="down" />
    </label>
  );
}

export function RunView() {
  const editor = useRef<EditorHandle | null>(null);
  const run = current.value;
  const busy = run !== null && run.state.value !== "done";
  const errorLine = run && !busy && run.code === code.value ? (run.result.value?.error?.line ?? null) : null;
  const presets = table.value?.presets.map((p) => [p.name, p.name] as const) ?? [[preset.value, preset.value] as const];
  const from = origin.value;
  const goLine = (n: number): void => editor.current?.goTo(n);

  useEffect(() => {
    if (matchMedia("(min-width: 900px)").matches) editor.current?.focus();
  }, []);

  return (
    <div class="run-view">
      <h1 class="sr">{t("nav_run")}</h1>
      <section class="card pane editor-pane" aria-label={t("code")}>
        <div class="toolbar">
          {busy ? (
            <Button kind="danger" icon="stop" onClick={() => void run.stop()} testid="stop">
              {t("stop")}
            </Button>
          ) : (
            <Button kind="primary" icon="run" onClick={() => startRun()} testid="run">
              {t("run")}
              <kbd>{t("run_hint")}</kbd>
            </Button>
          )}
          <Select label={t("preset")} value={preset.value} options={presets} onChange={setPreset} testid="preset" />
          <span class="spacer" />
          <ExamplesMenu />
          <Button icon="link" kind="quiet" onClick={() => void copyLink()} testid="share">
            {t("share")}
          </Button>
        </div>
        {from && (
          <p class="banner" role="note" data-testid="origin">
            {from.kind === "link" ? t("from_link") : t("from_history", { id: shortId(from.id) })}
            <Button icon="close" kind="quiet" label={t("dismiss")} onClick={() => (origin.value = null)} />
          </p>
        )}
        <Editor
          key={language.value}
          value={code.value}
          revision={codeRevision.value}
          label={`${t("editor_label")}. ${t("editor_help")}`}
          onChange={(v) => (code.value = v)}
          onRun={() => startRun()}
          errorLine={errorLine}
          handle={(h) => (editor.current = h)}
        />
        <PolicySummary />
      </section>
      <section class="pane result-pane" aria-label={t("output")} aria-busy={busy}>
        {!run ? (
          <div class="empty big">
            <div class="bricks" aria-hidden="true">
              <i /><i /><i /><i /><i /><i /><i />
            </div>
            <h2>{t("empty_title")}</h2>
            <p>{t("empty_text")}</p>
            <div class="example-list">
              {examples.map((x) => (
                <button
                  type="button"
                  class="button"
                  key={x.title}
                  onClick={() => {
                    setCode(x.code);
                    setPreset(x.preset);
                  }}
                >
                  {t(x.title)}
                </button>
              ))}
            </div>
          </div>
        ) : (
          <>
            {busy ? (
              <div class="verdict live" role="status" data-testid="verdict" data-status="running">
                <div class="headline">
                  <span class="pill live">
                    <span class="pulse" aria-hidden="true" />
                    {run.state.value === "starting" ? t("starting") : t("running")}
                  </span>
                </div>
              </div>
            ) : (
              <Verdict run={run} onLine={goLine} onRemedy={() => startRun()} />
            )}
            <Output run={run} />
            {(run.samples.value.length > 0 || busy) && (
              <Card
                class="flat"
                title={t("watch_title")}
                actions={
                  <a class="textlink" href={href("watch")}>
                    {t("watch_open")}
                  </a>
                }
              >
                <Live run={run} />
              </Card>
            )}
          </>
        )}
      </section>
    </div>
  );
}
