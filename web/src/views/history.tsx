// SPDX-License-Identifier: MIT
// Runs, newest first. Only what is in sight is in the document, so that ten thousand rows cost as much as forty.
import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, call, query } from "../api";
import { bytes, duration, firstLine, moment, shortId } from "../format";
import { locale, t } from "../i18n";
import type { Key } from "../messages";
import { list, record, row } from "../shape";
import { complaint, go, recent } from "../store";
import type { Row, Status } from "../types";
import { Icon } from "../ui/icons";
import { Button, Empty, Pill, Select } from "../ui/parts";

const ROW = 44;
const PAGE = 200;
const STATUSES: Status[] = ["ok", "error", "denied", "timeout", "memory", "cpu", "processes", "output", "disk", "killed", "fault", "running", "lost"];
const EVENTS = ["import", "open", "connect", "exec", "syscall", "limit", "connection"];

interface Filter {
  text: string;
  status: string;
  since: string;
  event: string;
}

// Kept while one goes to a detail page and back.
const filter = signal<Filter>({ text: "", status: "", since: "", event: "" });
const chosen = signal(0);
const scroll = signal(0);
export const marked = signal<string[]>([]);

const HOURS: Record<string, number> = { hour: 1, day: 24, week: 168 };

function sinceTime(name: string): string | null {
  const hours = HOURS[name];
  return hours ? new Date(Date.now() - hours * 3_600_000).toISOString() : null;
}

function ownRows(): Row[] {
  return recent.value.map(({ run, at, preset }) => {
    const r = run.result.peek();
    return {
      id: run.id.peek(),
      at,
      caller: null,
      session: null,
      filename: null,
      status: r?.status ?? "running",
      wall_ms: r?.usage.wall_ms ?? null,
      cpu_ms: r?.usage.cpu_ms ?? null,
      memory_peak_bytes: r?.usage.memory_peak_bytes ?? null,
      denials: r ? r.events.filter((e) => e.kind !== "limit" && e.kind !== "connection").length : null,
      code: run.code,
      preset,
    };
  });
}

function useRows() {
  const f = filter.value;
  const [rows, setRows] = useState<Row[]>([]);
  const [state, setState] = useState<"loading" | "more" | "all" | "none">("loading");
  const [problem, setProblem] = useState("");
  const [recorded, setRecorded] = useState(true);
  const asked = useRef(0);
  const loading = useRef(false);

  const load = async (before: string | null, have: Row[]): Promise<void> => {
    const turn = before ? asked.current : ++asked.current;
    loading.current = true;
    try {
      const answer = record(
        await call(query("/v1/executions", { limit: PAGE, before, status: f.status, text: f.text, event: f.event, since: sinceTime(f.since) })),
      );
      if (turn !== asked.current) return;
      setRecorded(answer["recorded"] !== false);
      const more = list(answer["executions"]).map(row);
      const known = new Set(have.map((r) => r.id));
      const fresh = more.filter((r) => !known.has(r.id));
      setRows([...have, ...fresh]);
      // A server without a journal has no cursor: the last row's id is as good there.
      const cursor = "next" in answer ? answer["next"] : more.length === PAGE ? more[more.length - 1]?.id : null;
      next.current = typeof cursor === "string" || typeof cursor === "number" ? String(cursor) : "";
      setState(next.current === "" || fresh.length === 0 ? "all" : "more");
      setProblem("");
    } catch (e) {
      if (turn !== asked.current) return;
      if (e instanceof ApiError && (e.status === 404 || e.status === 503 || e.status === 501)) setState("none");
      else setProblem(complaint(e));
    } finally {
      loading.current = false;
    }
  };
  const next = useRef("");

  useEffect(() => {
    setState("loading");
    const timer = setTimeout(() => void load(null, []), f.text ? 250 : 0);
    return () => clearTimeout(timer);
  }, [f.text, f.status, f.since, f.event]);

  return {
    rows: state === "none" ? ownRows() : rows,
    state,
    problem,
    recorded,
    more: () => {
      if (state === "more" && !loading.current) void load(next.current, rows);
    },
    refresh: () => void load(null, []),
  };
}

export function HistoryView() {
  const f = filter.value;
  const { rows, state, problem, recorded, more, refresh } = useRows();
  const box = useRef<HTMLDivElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const [top, setTop] = useState(scroll.peek());
  const [height, setHeight] = useState(600);
  const set = (part: Partial<Filter>): void => {
    filter.value = { ...filter.value, ...part };
    chosen.value = 0;
    box.current?.scrollTo(0, 0);
  };

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    element.scrollTop = scroll.peek();
    const watch = new ResizeObserver(() => setHeight(element.clientHeight));
    watch.observe(element);
    return () => watch.disconnect();
  }, [rows.length > 0]);

  const at = Math.min(chosen.value, Math.max(0, rows.length - 1));
  const first = Math.max(0, Math.floor(top / ROW) - 8);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + 8);

  useEffect(() => {
    if (last > rows.length - 60) more();
  }, [last, rows.length, state]);

  const toggle = (id: string): void => {
    marked.value = marked.value.includes(id) ? marked.value.filter((x) => x !== id) : [...marked.value.slice(-1), id];
  };

  const choose = (n: number): void => {
    const to = Math.max(0, Math.min(rows.length - 1, n));
    chosen.value = to;
    const element = box.current;
    if (!element) return;
    if (to * ROW < element.scrollTop) element.scrollTop = to * ROW;
    else if ((to + 1) * ROW > element.scrollTop + element.clientHeight) element.scrollTop = (to + 1) * ROW - element.clientHeight;
  };

  const onKey = (e: KeyboardEvent): void => {
    const pageful = Math.max(1, Math.floor(height / ROW) - 1);
    const moves: Record<string, number> = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + pageful, PageUp: at - pageful, Home: 0, End: rows.length - 1 };
    const to = moves[e.key];
    const current = rows[at];
    if (to !== undefined) choose(to);
    else if (e.key === "Enter" && current) go("history", current.id);
    else if (e.key === "x" && current) toggle(current.id);
    else if (e.key === "/") search.current?.focus();
    else return;
    e.preventDefault();
  };

  const visible = useMemo(() => rows.slice(first, last), [rows, first, last]);
  const filtered = f.text !== "" || f.status !== "" || f.since !== "" || f.event !== "";
  return (
    <div class="page history">
      <div class="page-head">
        <h1>{t("history_title")}</h1>
        <span class="spacer" />
        {marked.value.length > 0 && <span class="muted">{t("history_marked", { n: marked.value.length })}</span>}
        <Button disabled={marked.value.length !== 2} onClick={() => go("compare", ...marked.value)} testid="compare">
          {t("history_compare")}
        </Button>
        <Button icon="restart" kind="quiet" label={t("refresh")} onClick={refresh} />
      </div>
      <div class="filters">
        <label class="search">
          <Icon name="search" />
          <span class="sr">{t("history_search")}</span>
          <input
            ref={search}
            type="search"
            value={f.text}
            placeholder={t("history_search")}
            onInput={(e) => set({ text: e.currentTarget.value })}
            onKeyDown={(e) => e.key === "Escape" && box.current?.focus()}
            data-testid="history-search"
          />
        </label>
        <Select
          label={t("history_status")}
          value={f.status}
          options={[["", t("history_all")], ...STATUSES.map((s) => [s, t(`st_${s}` as Key)] as const)]}
          onChange={(status) => set({ status })}
          testid="history-status"
        />
        <Select
          label={t("history_when")}
          value={f.since}
          options={[
            ["", t("history_any_time")],
            ["hour", t("history_hour")],
            ["day", t("history_day")],
            ["week", t("history_week")],
          ]}
          onChange={(since) => set({ since })}
        />
        <Select label={t("history_events")} value={f.event} options={[["", t("history_any_event")], ...EVENTS.map((e) => [e, e] as const)]} onChange={(event) => set({ event })} />
      </div>
      {(state === "none" || !recorded) && <p class="banner">{t("history_no_journal")}</p>}
      {problem && <p class="complaint" role="alert">{problem}</p>}
      {rows.length === 0 ? (
        state === "loading" ? <Empty>{t("loading")}</Empty> : <Empty icon="history">{filtered ? t("history_empty") : t("history_first")}</Empty>
      ) : (
        <>
          <div
            class="rows"
            ref={box}
            role="listbox"
            tabIndex={0}
            aria-label={t("history_list")}
            aria-activedescendant={rows[at] ? `r-${at}` : undefined}
            onKeyDown={onKey}
            onScroll={(e) => {
              setTop(e.currentTarget.scrollTop);
              scroll.value = e.currentTarget.scrollTop;
            }}
            data-testid="rows"
            data-count={rows.length}
          >
            <div class="rows-space" style={{ height: `${rows.length * ROW}px` }} role="presentation">
              {visible.map((r, i) => {
                const n = first + i;
                const on = marked.value.includes(r.id);
                return (
                  <div
                    id={`r-${n}`}
                    key={r.id}
                    role="option"
                    aria-selected={n === at}
                    class={`row ${n === at ? "chosen" : ""} ${on ? "marked" : ""}`}
                    style={{ transform: `translateY(${n * ROW}px)` }}
                    onClick={(e) => {
                      chosen.value = n;
                      if (e.shiftKey || e.ctrlKey || e.metaKey) toggle(r.id);
                      else go("history", r.id);
                    }}
                    data-id={r.id}
                  >
                    <span
                      class={`tick ${on ? "on" : ""}`}
                      title={t("history_mark")}
                      onClick={(e) => {
                        e.stopPropagation();
                        toggle(r.id);
                      }}
                    >
                      {on && <Icon name="ok" />}
                    </span>
                    <Pill status={r.status} />
                    <code class="line">{firstLine(r.code) || shortId(r.id)}</code>
                    <span class="num">{r.denials ? <span class="badge deny">{r.denials}</span> : ""}</span>
                    <span class="num">{duration(r.wall_ms)}</span>
                    <span class="num">{bytes(r.memory_peak_bytes)}</span>
                    <span class="who">{r.caller ?? ""}</span>
                    <span class="when">{moment(r.at, locale())}</span>
                  </div>
                );
              })}
            </div>
          </div>
          <p class="note keys">
            {t("history_keys")}
            {state === "all" && ` · ${t("history_end")}`}
          </p>
        </>
      )}
    </div>
  );
}
