// SPDX-License-Identifier: MIT
// One recorded run, and two beside each other.
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, call, pathOf } from "../api";
import { diffLines } from "../diff";
import { bytes, duration, moment, shortId } from "../format";
import { language, locale, t } from "../i18n";
import { adopt, fieldOf, presetValue, same, showValue } from "../policy";
import { Run } from "../run";
import { journalHead, list, record, recorded, sample } from "../shape";
import { setCode, complaint, go, href, origin, recent, startRun } from "../store";
import type { Json, Recorded, Sample } from "../types";
import { Charts } from "../ui/charts";
import { Icon } from "../ui/icons";
import { Output } from "../ui/output";
import { Button, Card, Empty, Pill } from "../ui/parts";
import { EventLine, Verdict } from "../ui/verdict";
import { Editor } from "../editor";

interface Loaded {
  rec: Recorded;
  samples: Sample[];
  run: Run;
}

export function readSamples(v: Json): Sample[] {
  return (Array.isArray(v) ? v : list(record(v)["samples"])).map(sample);
}

async function load(id: string): Promise<Loaded> {
  const own = recent.peek().find((x) => x.run.id.peek() === id);
  try {
    const rec = recorded(await call(pathOf("executions", id)));
    let samples: Sample[] = [];
    try {
      samples = readSamples(await call(pathOf("executions", id, "samples")));
    } catch {
      // A run too short for samples has none.
    }
    return { rec, samples, run: Run.from(rec.code, rec, samples) };
  } catch (e) {
    const r = own?.run.result.peek();
    if (!(e instanceof ApiError) || !own || !r) throw e;
    const rec: Recorded = { ...r, at: own.at, code: own.run.code, preset: own.preset, caller: null, filename: null, mac: null };
    return { rec, samples: own.run.samples.peek(), run: own.run };
  }
}

function useRun(id: string): { loaded: Loaded | null; problem: string } {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let gone = false;
    setLoaded(null);
    setProblem("");
    load(id).then(
      (x) => !gone && setLoaded(x),
      (e: unknown) => !gone && setProblem(complaint(e)),
    );
    return () => {
      gone = true;
    };
  }, [id]);
  return { loaded, problem };
}

export function CodeBlock({ text: program, line }: { text: string; line?: number | null }) {
  return <Editor key={language.value} value={program} label={t("detail_code")} onChange={() => undefined} onRun={() => undefined} readOnly grow errorLine={line ?? null} />;
}

function Integrity() {
  const [head, setHead] = useState<{ mac: string; count: number } | null | undefined>(undefined);
  useEffect(() => {
    call("/v1/journal/head").then(
      (v) => setHead(journalHead(v)),
      () => setHead(null),
    );
  }, []);
  if (head === undefined) return <span class="muted">…</span>;
  if (!head) return <span class="muted">{t("integrity_none")}</span>;
  return (
    <span class="integrity">
      <Icon name="ok" />
      {t("integrity_chained", { n: head.count.toLocaleString() })}
      {head.mac && (
        <>
          {" · "}
          <code title={head.mac}>{t("integrity_head", { mac: head.mac.slice(0, 12) })}</code>
        </>
      )}
    </span>
  );
}

function open(rec: Recorded, andRun: boolean): void {
  setCode(rec.code);
  adopt(rec.policy, rec.preset);
  origin.value = { kind: "history", id: rec.id };
  go("run");
  if (andRun) startRun();
}

function template(x: Recorded["template"]): string {
  if (!x) return "–";
  if (typeof x === "string") return x;
  return [x.name ?? x.python, x.version, x.preload?.join(", ")].filter(Boolean).join(" · ");
}

export function PolicyTable({ rec }: { rec: Recorded }) {
  const base = rec.preset ?? "strict";
  return (
    <table class="plain-table">
      <tbody>
        {Object.entries(rec.policy).map(([name, value]) => (
          <tr key={name} class={same(value, presetValue(name, base)) ? "" : "changed"}>
            <th scope="row">{name}</th>
            <td>{showValue(fieldOf(name), value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function DetailView({ id }: { id: string }) {
  const { loaded, problem } = useRun(id);
  if (problem || !loaded)
    return (
      <div class="page">
        <div class="page-head">
          <a class="button only-icon quiet" href={href("history")} aria-label={t("back")}>
            <Icon name="back" />
          </a>
          <h1>{t("detail_title", { id: shortId(id) })}</h1>
        </div>
        {problem ? <p class="complaint" role="alert">{problem}</p> : <Empty>{t("loading")}</Empty>}
      </div>
    );
  const { rec, samples, run } = loaded;
  const facts: [string, preact.ComponentChildren][] = [
    [t("detail_when"), moment(rec.at, locale())],
    [t("detail_caller"), rec.caller ?? "–"],
    [t("preset"), rec.preset ?? "–"],
    [t("detail_template"), template(rec.template)],
    [t("detail_session"), rec.session ? <a href={href("sessions", rec.session)}>{shortId(rec.session)}</a> : "–"],
    [t("detail_integrity"), <Integrity />],
  ];
  return (
    <div class="page detail">
      <div class="page-head">
        <a class="button only-icon quiet" href={href("history")} aria-label={t("back")}>
          <Icon name="back" />
        </a>
        <h1>{t("detail_title", { id: shortId(rec.id) })}</h1>
        <span class="spacer" />
        <Button onClick={() => open(rec, false)} testid="open">
          {t("detail_open")}
        </Button>
        <Button kind="primary" icon="run" onClick={() => open(rec, true)} testid="again">
          {t("run_again")}
        </Button>
      </div>
      <Card>
        <Verdict run={run} />
        <dl class="facts">
          {facts.map(([k, v]) => (
            <div key={k} class={k === t("detail_integrity") ? "wide" : ""}>
              <dt>{k}</dt>
              <dd>{v}</dd>
            </div>
          ))}
        </dl>
      </Card>
      <div class="columns">
        <Card title={t("detail_code")} testid="detail-code">
          <CodeBlock text={rec.code} line={rec.error?.line ?? null} />
        </Card>
        <Card title={t("output")}>
          <Output run={run} />
        </Card>
      </div>
      <Card title={t("detail_chart")}>
        <Charts samples={samples} events={rec.events} marks={[]} policy={rec.policy} until={rec.usage.wall_ms / 1000} full />
      </Card>
      <div class="columns">
        <Card title={t("detail_policy")}>
          <PolicyTable rec={rec} />
        </Card>
        <div>
          {rec.events.length > 0 && (
            <Card title={t("detail_events")}>
              <ul class="denials plain">
                {rec.events.slice(0, 200).map((e, i) => (
                  <li key={i}>
                    <EventLine e={e} />
                  </li>
                ))}
              </ul>
            </Card>
          )}
          <Card title={t("detail_enforced")}>
            <table class="plain-table">
              <tbody>
                {Object.entries(rec.enforced).map(([k, v]) => (
                  <tr key={k}>
                    <th scope="row">{k}</th>
                    <td>{v}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Card>
        </div>
      </div>
    </div>
  );
}

function Diff({ a, b, sameText }: { a: string; b: string; sameText: string }) {
  const lines = useMemo(() => (a === b ? [] : diffLines(a, b)), [a, b]);
  if (a === b) return <p class="note">{sameText}</p>;
  return (
    <pre class="term diff" tabIndex={0}>
      {lines.map((l, i) => (
        <span key={i} class={l.kind}>
          {l.kind === "old" ? "− " : l.kind === "new" ? "+ " : "  "}
          {l.text}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}

export function CompareView({ a, b }: { a: string; b: string }) {
  const one = useRun(a);
  const two = useRun(b);
  const problem = one.problem || two.problem;
  const x = one.loaded?.rec;
  const y = two.loaded?.rec;
  const names = x && y ? [...new Set([...Object.keys(x.policy), ...Object.keys(y.policy)])].filter((n) => !same(x.policy[n], y.policy[n])) : [];
  const figures: [string, (r: Recorded) => string][] = [
    [t("wall"), (r) => duration(r.usage.wall_ms)],
    [t("cpu"), (r) => duration(r.usage.cpu_ms)],
    [t("memory_peak"), (r) => bytes(r.usage.memory_peak_bytes)],
    [t("processes"), (r) => String(r.usage.processes_peak)],
    [t("written"), (r) => bytes(r.usage.written_bytes)],
    [t("denials"), (r) => String(r.events.filter((e) => e.kind !== "limit" && e.kind !== "connection").reduce((n, e) => n + e.count, 0))],
    [t("detail_when"), (r) => moment(r.at, locale())],
  ];
  return (
    <div class="page compare">
      <div class="page-head">
        <a class="button only-icon quiet" href={href("history")} aria-label={t("back")}>
          <Icon name="back" />
        </a>
        <h1>{t("compare_title")}</h1>
      </div>
      {problem ? (
        <p class="complaint" role="alert">{problem}</p>
      ) : !x || !y || !one.loaded || !two.loaded ? (
        <Empty>{a && b ? t("loading") : t("compare_pick")}</Empty>
      ) : (
        <>
          <Card title={t("compare_figures")} testid="compare-figures">
            <table class="plain-table compare-table">
              <thead>
                <tr>
                  <td />
                  {[x, y].map((r) => (
                    <th scope="col" key={r.id}>
                      <a href={href("history", r.id)}>{shortId(r.id)}</a> <Pill status={r.status} />
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {figures.map(([label, read]) => (
                  <tr key={label} class={read(x) === read(y) ? "" : "changed"}>
                    <th scope="row">{label}</th>
                    <td>{read(x)}</td>
                    <td>{read(y)}</td>
                  </tr>
                ))}
                {names.map((n) => (
                  <tr key={n} class="changed">
                    <th scope="row">{n}</th>
                    <td>{showValue(fieldOf(n), x.policy[n])}</td>
                    <td>{showValue(fieldOf(n), y.policy[n])}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {names.length === 0 && <p class="note">{t("compare_same_policy")}</p>}
          </Card>
          <div class="columns">
            <Card title={t("detail_code")}>
              <Diff a={x.code} b={y.code} sameText={t("compare_same_code")} />
            </Card>
            <Card title={t("output")}>
              <Diff a={x.stdout + x.stderr} b={y.stdout + y.stderr} sameText={t("compare_same_output")} />
            </Card>
          </div>
          <div class="columns">
            {[one.loaded, two.loaded].map(({ rec, samples }) => (
              <Card title={shortId(rec.id)} key={rec.id}>
                <Charts samples={samples} events={rec.events} marks={[]} policy={rec.policy} until={Math.max(x.usage.wall_ms, y.usage.wall_ms) / 1000} />
              </Card>
            ))}
          </div>
        </>
      )}
    </div>
  );
}
