// SPDX-License-Identifier: MIT
// Output of one run: text and displays in their order, then the value, then the files it left.
import { useEffect, useMemo, useRef } from "preact/hooks";
import { callBlob, pathOf } from "../api";
import { bytes, saveBlob } from "../format";
import { t } from "../i18n";
import type { Run } from "../run";
import { complaint, say } from "../store";
import type { Term } from "../term";
import { toTable } from "../values";
import { Display } from "./display";
import { Button, Card, DataTable } from "./parts";

function TermBox({ term }: { term: Term }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    term.element.setAttribute("aria-label", t("output"));
    term.flush();
    host.current?.replaceChildren(term.element);
    term.element.scrollTop = term.element.scrollHeight;
  }, [term]);
  return <div class="termbox" ref={host} />;
}

function Value({ run }: { run: Run }) {
  const result = run.result.value;
  const table = useMemo(() => (result ? toTable(result.result) : null), [result]);
  if (!result || result.result_source === null || result.result_repr === null) return null;
  // The value was displayed already, as the last of the displays.
  if (result.result_display !== null && result.result_display !== undefined && run.blocks.value.some((b) => b.kind === "display")) return null;
  return (
    <div class="value" data-testid="value">
      <span class="value-label">{t("value_of")}{result.execution_count ? ` [${result.execution_count}]` : ""}</span>
      {table ? <DataTable table={table} label={t("value")} /> : <pre class="term plain" tabIndex={0}>{result.result_repr.slice(0, 200_000)}</pre>}
    </div>
  );
}

async function save(id: string, path: string): Promise<void> {
  try {
    saveBlob(await callBlob(pathOf("executions", id, "files", path)), path);
  } catch (e) {
    say(complaint(e));
  }
}

export function Output({ run }: { run: Run }) {
  const blocks = run.blocks.value;
  const result = run.result.value;
  const valueAt = result?.result_display;
  const nothing = run.state.value === "done" && blocks.length === 0 && !(result && result.result_repr !== null);
  return (
    <div class="output" data-testid="output">
      {blocks.map((b, i) =>
        b.kind === "text" ? (
          <TermBox term={b.term} key={i} />
        ) : (
          <div class={b.index === valueAt ? "value" : "display"} key={i} data-testid="display">
            {b.index === valueAt && <span class="value-label">{t("value_of")}</span>}
            <Display b={b.bundle} />
          </div>
        ),
      )}
      <Value run={run} />
      {nothing && !run.problem.value && <p class="note">{t("output_none")}</p>}
      {result && result.truncated.stdout > 0 && <p class="note">{t("truncated_out", { n: bytes(result.truncated.stdout), stream: "stdout" })}</p>}
      {result && result.truncated.stderr > 0 && <p class="note">{t("truncated_out", { n: bytes(result.truncated.stderr), stream: "stderr" })}</p>}
      {result && result.files.length > 0 && (
        <Card title={t("files_left")} class="flat">
          <ul class="files">
            {result.files.map((f) => (
              <li key={f.path}>
                <span class="path">{f.path}</span>
                <span class="size">{bytes(f.size)}</span>
                <Button icon="download" kind="quiet" label={`${t("download")} ${f.path}`} onClick={() => void save(result.id, f.path)} />
              </li>
            ))}
          </ul>
        </Card>
      )}
    </div>
  );
}
