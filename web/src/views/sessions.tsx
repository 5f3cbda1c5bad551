// SPDX-License-Identifier: MIT
// Cells as in a notebook, over a session of the server: its variables and files beside them.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { call, callBlob, pathOf } from "../api";
import { Editor, type Completion, type EditorHandle } from "../editor";
import { bytes, duration, moment, saveBlob, saveText, shortId } from "../format";
import { locale, t } from "../i18n";
import type { Key } from "../messages";
import { toIpynb, toScript, type Cell } from "../notebook";
import { asRequest, preset, setPreset, table } from "../policy";
import { Run } from "../run";
import { file as readFile, list, number, record, session as readSession, text, variable } from "../shape";
import { complaint, go, href, route, say } from "../store";
import type { FileInfo, Json, Session, Variable } from "../types";
import { Icon } from "../ui/icons";
import { Output } from "../ui/output";
import { Button, Card, Empty, Pill, Select } from "../ui/parts";
import { EventLine, reason } from "../ui/verdict";

const sessions = signal<Session[]>([]);
const cellsOf = new Map<string, ReturnType<typeof signal<Cell[]>>>();

const key = (): string => [...crypto.getRandomValues(new Uint8Array(6))].map((b) => b.toString(16).padStart(2, "0")).join("");
const newCell = (code = ""): Cell => ({ key: key(), code, run: null, count: null });

function storedCells(id: string): Cell[] {
  try {
    const value = JSON.parse(sessionStorage.getItem(`sandbox.cells.${id}`) ?? "[]") as Json;
    const codes = list(value).map((x) => text(x));
    if (codes.length) return codes.map(newCell);
  } catch {
    // None, then.
  }
  return [newCell()];
}

function cells(id: string) {
  let own = cellsOf.get(id);
  if (!own) {
    own = signal<Cell[]>(storedCells(id));
    cellsOf.set(id, own);
  }
  return own as { value: Cell[] };
}

function keep(id: string): void {
  try {
    sessionStorage.setItem(`sandbox.cells.${id}`, JSON.stringify(cells(id).value.map((c) => c.code)));
  } catch {
    // They stay in this page.
  }
}

async function loadSessions(): Promise<void> {
  try {
    sessions.value = list(record(await call("/v1/sessions"))["sessions"]).map(readSession);
  } catch (e) {
    say(complaint(e));
  }
}

async function create(): Promise<void> {
  try {
    const made = readSession(await call("/v1/sessions", { method: "POST", body: asRequest() as unknown as Json }));
    await loadSessions();
    go("sessions", made.id);
  } catch (e) {
    say(complaint(e));
  }
}

async function complete(id: string, code: string, cursor: number): Promise<Completion | null> {
  try {
    const r = record(await call(pathOf("sessions", id, "complete"), { method: "POST", body: { code, cursor } }));
    return { matches: list(r["matches"]).map((x) => text(x)), start: number(r["start"], -1), end: number(r["end"], -1) };
  } catch {
    return null;
  }
}

interface CellProps {
  id: string;
  cell: Cell;
  index: number;
  count: number;
  ended: boolean;
  quiet: boolean;
  onRun: (index: number, how: "stay" | "next") => void;
  onChange: (index: number, code: string) => void;
  onMove: (index: number, by: number) => void;
  onDelete: (index: number) => void;
  handle: (index: number, h: EditorHandle | null) => void;
}

function CellVerdict({ run, onLine }: { run: Run; onLine: (n: number) => void }) {
  const r = run.result.value;
  const problem = run.problem.value;
  if (problem) return <p class="complaint">{problem.name}: {problem.message}</p>;
  if (!r) return null;
  const denials = run.events.value.filter((e) => e.kind !== "limit" && e.kind !== "connection");
  return (
    <div class="cell-verdict">
      {r.status !== "ok" && (
        <p>
          <Pill status={r.status} /> {reason(r)}{" "}
          {r.error?.line && (
            <button type="button" class="textlink" onClick={() => onLine(r.error?.line ?? 1)}>
              {t("go_to_line", { n: r.error.line })}
            </button>
          )}
        </p>
      )}
      {denials.length > 0 && (
        <ul class="denials plain">
          {denials.slice(0, 10).map((e, i) => (
            <li key={i}>
              <EventLine e={e} />
            </li>
          ))}
        </ul>
      )}
      <span class="muted small">
        {duration(r.usage.wall_ms)} · {bytes(r.usage.memory_peak_bytes)}
      </span>
    </div>
  );
}

function CellView(p: CellProps) {
  const { cell, index } = p;
  const run = cell.run;
  const busy = run !== null && run.state.value !== "done";
  const editor = useRef<EditorHandle | null>(null);
  const errorLine = run && !busy && run.code === cell.code ? (run.result.value?.error?.line ?? null) : null;
  return (
    <section class={`cell ${busy ? "busy" : ""}`} aria-label={t("cell", { n: index + 1 })} data-testid="cell">
      <div class="cell-gutter">
        {busy ? (
          <button type="button" class="cell-run stop" aria-label={t("cell_stop")} title={t("cell_stop")} onClick={() => void call(pathOf("sessions", p.id, "interrupt"), { method: "POST" }).catch((e: unknown) => say(complaint(e)))}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="button" class="cell-run" aria-label={t("cell_run")} title={t("cell_run")} disabled={p.ended} onClick={() => p.onRun(index, "stay")}>
            <Icon name="run" />
          </button>
        )}
        <span class="cell-count">[{busy ? "*" : (cell.count ?? " ")}]</span>
      </div>
      <div class="cell-body">
        <div class="cell-code">
          <Editor
            value={cell.code}
            grow
            label={`${t("cell", { n: index + 1 })}. ${t("editor_help")}`}
            onChange={(v) => p.onChange(index, v)}
            onRun={(how) => p.onRun(index, how)}
            complete={(code, cursor) => (p.quiet ? complete(p.id, code, cursor) : Promise.resolve(null))}
            errorLine={errorLine}
            handle={(h) => {
              editor.current = h;
              p.handle(index, h);
            }}
          />
          <div class="cell-tools">
            <Button icon="up" kind="quiet" label={t("cell_up")} disabled={index === 0} onClick={() => p.onMove(index, -1)} />
            <Button icon="down" kind="quiet" label={t("cell_down")} disabled={index === p.count - 1} onClick={() => p.onMove(index, 1)} />
            <Button icon="trash" kind="quiet" label={t("cell_delete")} onClick={() => p.onDelete(index)} />
          </div>
        </div>
        {run && (
          <>
            {(run.blocks.value.length > 0 || run.result.value?.result_repr) && <Output run={run} />}
            {!busy && <CellVerdict run={run} onLine={(n) => editor.current?.goTo(n)} />}
          </>
        )}
      </div>
    </section>
  );
}

function Files({ id, version, quiet, ended }: { id: string; version: number; quiet: boolean; ended: boolean }) {
  const [files, setFiles] = useState<FileInfo[]>([]);
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const load = async (): Promise<void> => {
    try {
      setFiles(list(record(await call(pathOf("sessions", id, "files")))["files"]).map(readFile));
    } catch {
      setFiles([]);
    }
  };
  useEffect(() => {
    if (quiet && !ended) void load();
  }, [id, version]);
  const put = async (chosen: FileList | null | undefined): Promise<void> => {
    for (const f of [...(chosen ?? [])]) {
      try {
        await call(pathOf("sessions", id, "files", f.name), { method: "PUT", body: f });
      } catch (e) {
        say(`${f.name}: ${complaint(e)}`);
      }
    }
    await load();
  };
  const act = async (what: () => Promise<void>): Promise<void> => {
    try {
      await what();
    } catch (e) {
      say(complaint(e));
    }
    await load();
  };
  return (
    <Card title={t("files")} class="panel" testid="session-files">
      {files.length === 0 ? (
        <p class="note">{t("files_none")}</p>
      ) : (
        <ul class="files">
          {files.map((f) => (
            <li key={f.path}>
              <span class="path" title={f.path}>{f.path}</span>
              <span class="size">{bytes(f.size)}</span>
              <Button icon="download" kind="quiet" label={`${t("download")} ${f.path}`} onClick={() => void act(async () => saveBlob(await callBlob(pathOf("sessions", id, "files", f.path)), f.path))} />
              <Button
                icon="trash"
                kind="quiet"
                label={t("remove_item", { name: f.path })}
                onClick={() => void act(async () => void (await call(pathOf("sessions", id, "files", f.path), { method: "DELETE" })))}
              />
            </li>
          ))}
        </ul>
      )}
      <div
        class={`drop ${over ? "over" : ""}`}
        data-testid="drop"
        onDragOver={(e) => {
          e.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(e) => {
          e.preventDefault();
          setOver(false);
          void put(e.dataTransfer?.files);
        }}
      >
        <input ref={input} type="file" multiple class="sr" tabIndex={-1} aria-label={t("upload")} onChange={(e) => void put(e.currentTarget.files)} />
        <button type="button" disabled={ended} onClick={() => input.current?.click()}>
          <Icon name="upload" /> {t("drop_here")}
        </button>
      </div>
    </Card>
  );
}

function Variables({ id, version, quiet, ended }: { id: string; version: number; quiet: boolean; ended: boolean }) {
  const [variables, setVariables] = useState<Variable[]>([]);
  useEffect(() => {
    if (ended || !quiet) return;
    call(pathOf("sessions", id, "variables")).then(
      (v) => setVariables(list(record(v)["variables"]).map(variable)),
      // What was there last stays: the next run asks again.
      () => undefined,
    );
  }, [id, version]);
  return (
    <Card title={t("variables")} class="panel" testid="variables">
      {variables.length === 0 ? (
        <p class="note">{t("variables_none")}</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={t("variables")}>
          <table class="plain-table vars">
            <thead>
              <tr>
                <th scope="col">{t("var_name")}</th>
                <th scope="col">{t("var_type")}</th>
                <th scope="col" class="num">{t("var_size")}</th>
                <th scope="col">{t("var_preview")}</th>
              </tr>
            </thead>
            <tbody>
              {variables.slice(0, 500).map((v) => (
                <tr key={v.name}>
                  <th scope="row">{v.name}</th>
                  <td>{v.type}</td>
                  <td class="num">{v.size === null ? "" : bytes(v.size)}</td>
                  <td class="preview" title={v.preview}>{v.preview.slice(0, 120)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Notebook({ id }: { id: string }) {
  const own = cells(id);
  const [version, setVersion] = useState(0);
  const [info, setInfo] = useState<Session | null>(null);
  const [gone, setGone] = useState<string | null>(null);
  const [settled, setSettled] = useState(0);
  const handles = useRef(new Map<number, EditorHandle>());
  const list_ = own.value;

  // A session that starts or runs a program answers no other question: it is asked how it is until it does.
  useEffect(() => {
    let over = false;
    const describe = async (): Promise<void> => {
      for (let tries = 0; tries < 100 && !over; tries++) {
        let now: Session;
        try {
          now = readSession(await call(pathOf("sessions", id)));
        } catch {
          if (!over) setGone((g) => g ?? "");
          return;
        }
        if (over) return;
        setInfo(now);
        if (now.state === "idle") setSettled((n) => n + 1);
        if (now.state === "idle" || now.state === "ended") return;
        await new Promise((r) => setTimeout(r, 200));
      }
    };
    void describe();
    return () => {
      over = true;
    };
  }, [id, version]);

  const ended = gone !== null || info?.state === "ended";
  const quiet = settled > 0 && !list_.some((c) => c.run && c.run.state.value !== "done");
  const update = (next: Cell[]): void => {
    own.value = next;
    keep(id);
  };
  const change = (i: number, code: string): void => update(own.value.map((c, k) => (k === i ? { ...c, code } : c)));

  const runCell = async (i: number): Promise<boolean> => {
    const cell = own.value[i];
    if (!cell || ended) return false;
    const run = new Run(cell.code, info?.policy ?? {});
    own.value = own.value.map((c) => (c.key === cell.key ? { ...c, run, count: null } : c));
    await run.start({ code: cell.code, session: id });
    const r = run.result.peek();
    own.value = own.value.map((c) => (c.key === cell.key && c.run === run ? { ...c, count: r?.execution_count ?? null } : c));
    if (r?.session_ended) setGone(r.session_ended);
    setVersion((v) => v + 1);
    void loadSessions();
    return r?.status === "ok";
  };
  const onRun = (i: number, how: "stay" | "next"): void => {
    void runCell(i);
    if (how !== "next") return;
    if (i + 1 >= own.value.length) update([...own.value, newCell()]);
    setTimeout(() => handles.current.get(i + 1)?.focus(), 0);
  };
  const move = (i: number, by: number): void => {
    const next = [...own.value];
    const [cell] = next.splice(i, 1);
    if (cell) next.splice(i + by, 0, cell);
    update(next);
  };
  const act = async (what: string, said = ""): Promise<void> => {
    try {
      if (what === "end") await call(pathOf("sessions", id), { method: "DELETE" });
      else await call(pathOf("sessions", id, what), { method: "POST" });
      if (said) say(said);
    } catch (e) {
      say(complaint(e));
    }
    setVersion((v) => v + 1);
    void loadSessions();
  };
  const runAll = async (): Promise<void> => {
    for (let i = 0; i < own.value.length; i++) if (!(await runCell(i))) break;
  };
  const template = info?.template;
  const python = template && typeof template === "object" ? (template.version ?? "") : "";

  return (
    <div class="notebook">
      <div class="notebook-main">
        <div class="toolbar">
          <Button icon="run" kind="primary" disabled={ended} onClick={() => void runAll()}>
            {t("run_all")}
          </Button>
          <Button icon="stop" disabled={ended} onClick={() => void act("interrupt")} testid="interrupt">
            {t("interrupt")}
          </Button>
          <Button icon="restart" disabled={ended} onClick={() => void act("restart", t("restarted"))} testid="restart">
            {t("restart")}
          </Button>
          <span class="spacer" />
          <Button icon="download" kind="quiet" onClick={() => saveText(toIpynb(own.value, python), `session-${shortId(id)}.ipynb`)} testid="ipynb">
            {t("export_ipynb")}
          </Button>
          <Button icon="download" kind="quiet" onClick={() => saveText(toScript(own.value), `session-${shortId(id)}.py`)} testid="py">
            {t("export_py")}
          </Button>
          <Button kind="quiet" icon="trash" disabled={ended} onClick={() => void act("end")} testid="end">
            {t("end_session")}
          </Button>
        </div>
        {ended && <p class="banner">{gone ? t("session_gone_why", { why: gone }) : t("session_gone")}</p>}
        {list_.map((c, i) => (
          <CellView
            key={c.key}
            id={id}
            cell={c}
            index={i}
            count={list_.length}
            ended={ended}
            quiet={quiet && !ended}
            onRun={onRun}
            onChange={change}
            onMove={move}
            onDelete={(k) => update(own.value.length > 1 ? own.value.filter((_, n) => n !== k) : [newCell()])}
            handle={(k, h) => (h ? handles.current.set(k, h) : handles.current.delete(k))}
          />
        ))}
        <div class="cell-add">
          <Button icon="plus" onClick={() => update([...own.value, newCell()])} testid="add-cell">
            {t("cell_add")}
          </Button>
          <span class="muted small">{t("cells_hint")}</span>
        </div>
      </div>
      <aside class="notebook-side" aria-label={t("variables")}>
        <Variables id={id} version={settled} quiet={quiet} ended={ended} />
        <Files id={id} version={settled} quiet={quiet} ended={ended} />
      </aside>
    </div>
  );
}

export function SessionsView() {
  const id = route.value.args[0] ?? "";
  const presets = table.value?.presets.map((p) => [p.name, p.name] as const) ?? [[preset.value, preset.value] as const];
  useEffect(() => {
    void loadSessions();
    const timer = setInterval(() => void loadSessions(), 5000);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="page sessions">
      <div class="page-head">
        <h1>{id ? t("session_of", { id: shortId(id) }) : t("sessions_title")}</h1>
        <span class="spacer" />
        <Select label={t("preset")} value={preset.value} options={presets} onChange={setPreset} />
        <Button kind={id ? "quiet" : "primary"} icon="plus" onClick={() => void create()} testid="new-session">
          {t("sessions_new")}
        </Button>
      </div>
      {sessions.value.length > 0 && (
        <nav class="session-tabs" aria-label={t("sessions_title")}>
          {sessions.value.map((s) => (
            <a key={s.id} href={href("sessions", s.id)} class={s.id === id ? "on" : ""} aria-current={s.id === id ? "page" : undefined} title={moment(s.created_at, locale())}>
              <span class={`state ${s.state}`} aria-hidden="true" />
              <code>{shortId(s.id)}</code>
              <span class="muted">{t(`sess_${s.state}` as Key)}</span>
              {s.memory_bytes !== null && <span class="muted">{bytes(s.memory_bytes)}</span>}
            </a>
          ))}
        </nav>
      )}
      {id ? <Notebook id={id} key={id} /> : sessions.value.length === 0 ? <Empty icon="sessions">{t("sessions_empty")}</Empty> : null}
    </div>
  );
}
