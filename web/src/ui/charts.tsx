// SPDX-License-Identifier: MIT
// What a run used, over time, against its limits: one small chart a measure, with one cursor through all of them.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { bytes, duration } from "../format";
import { t } from "../i18n";
import type { Key } from "../messages";
import { dark } from "../store";
import type { Policy, Sample, SandboxEvent } from "../types";

interface Measure {
  key: "memory" | "cpu" | "processes" | "written";
  limitField: string;
  scale: number;
  pick: (s: Sample, before: Sample | undefined) => number | null;
  show: (v: number) => string;
  stepped?: boolean;
  /** Distances that its axis may have. */
  steps?: number[];
}

const BINARY = Array.from({ length: 41 }, (_, i) => 2 ** i);
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000];

const MEASURES: Measure[] = [
  { key: "memory", limitField: "max_memory_mb", scale: 1048576, pick: (s) => s.memory_bytes, show: bytes, steps: BINARY },
  {
    key: "cpu",
    limitField: "max_cpu_percent",
    scale: 1,
    // Below 5 ms a clock's grain is all there is to see.
    pick: (s, b) => (b ? (s.at_ms - b.at_ms >= 5 ? (100 * Math.max(0, s.cpu_ms - b.cpu_ms)) / (s.at_ms - b.at_ms) : null) : s.at_ms > 0 ? (100 * s.cpu_ms) / s.at_ms : 0),
    show: (v) => `${v < 10 ? v.toFixed(1) : Math.round(v)} %`,
  },
  { key: "processes", limitField: "max_processes", scale: 1, pick: (s) => s.processes, show: (v) => String(Math.round(v)), stepped: true, steps: WHOLE },
  { key: "written", limitField: "max_disk_mb", scale: 1048576, pick: (s) => s.written_bytes ?? null, show: bytes, steps: BINARY },
];

const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

interface ChartProps {
  measure: Measure;
  times: number[];
  values: (number | null)[];
  limit: number | null;
  events: SandboxEvent[];
  marks: number[];
  height: number;
  until: number;
  sync: string;
  full: boolean;
}

function Chart(p: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(p);
  latest.current = p;
  const [hover, setHover] = useState<string | null>(null);
  const peak = p.values.reduce<number>((m, v) => (v !== null && v > m ? v : m), 0);
  const isDark = dark.value;

  useEffect(() => {
    const element = host.current;
    if (!element) return undefined;
    const colours = { line: css("--chart"), fill: css("--chart-soft"), grid: css("--line"), text: css("--muted"), limit: css("--warn"), deny: css("--deny"), mark: css("--faint") };
    const draw = (u: uPlot): void => {
      const { limit, events, marks } = latest.current;
      const ctx = u.ctx;
      const { left, top, width, height } = u.bbox;
      const px = devicePixelRatio || 1;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, width, height);
      ctx.clip();
      ctx.fillStyle = colours.mark;
      for (const m of marks) ctx.fillRect(Math.round(u.valToPos(m / 1000, "x", true)), top + height - 4 * px, px, 4 * px);
      ctx.strokeStyle = colours.deny;
      ctx.fillStyle = colours.deny;
      ctx.lineWidth = 1.5 * px;
      for (const e of events) {
        const x = Math.round(u.valToPos(e.at_ms / 1000, "x", true));
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, top + height);
        ctx.stroke();
        ctx.beginPath();
        ctx.arc(x, top + 4 * px, 3 * px, 0, 2 * Math.PI);
        ctx.fill();
      }
      if (limit !== null) {
        const max = u.scales["y"]?.max ?? 0;
        ctx.strokeStyle = colours.limit;
        ctx.fillStyle = colours.limit;
        ctx.font = `${11 * px}px system-ui, sans-serif`;
        ctx.textAlign = "right";
        if (limit <= max) {
          const y = Math.round(u.valToPos(limit, "y", true));
          ctx.setLineDash([5 * px, 4 * px]);
          ctx.beginPath();
          ctx.moveTo(left, y);
          ctx.lineTo(left + width, y);
          ctx.stroke();
        }
      }
      ctx.restore();
    };
    const u = new uPlot(
      {
        width: element.clientWidth || 300,
        height: p.height,
        legend: { show: false },
        padding: [6, 22, 0, 0],
        cursor: { sync: { key: p.sync }, points: { size: 6 }, drag: { x: false, y: false }, y: false },
        scales: {
          x: { time: false, range: () => [0, Math.max(0.05, latest.current.until)] },
          y: {
            range: (_u, _min, max) => {
              const limit = latest.current.limit;
              const top = Math.max(max || 0, latest.current.measure.key === "processes" ? 1 : 0);
              // In small, the limit is in sight as soon as the run is anywhere near it.
              if (limit !== null && (latest.current.full || top > limit / 30)) return [0, Math.max(limit, top) * 1.1];
              return [0, top > 0 ? top * 1.35 : limit !== null ? limit * 1.1 : 1];
            },
          },
        },
        axes: [
          { stroke: colours.text, font: "11px system-ui, sans-serif", grid: { show: false }, ticks: { show: false }, size: 22, gap: 5, values: (_u, v) => v.map((x) => `${Number(x.toFixed(3))} s`), space: 70 },
          { stroke: colours.text, font: "11px system-ui, sans-serif", grid: { stroke: colours.grid, width: 1 }, ticks: { show: false }, size: 66, gap: 6, values: (_u, v) => v.map((x) => p.measure.show(x)), space: 30, ...(p.measure.steps ? { incrs: p.measure.steps } : {}) },
        ],
        series: [
          {},
          {
            stroke: colours.line,
            fill: colours.fill,
            width: 1.75,
            spanGaps: true,
            points: { show: (uu) => (uu.data[0]?.length ?? 0) < 3, size: 5, fill: colours.line },
            ...(p.measure.stepped && uPlot.paths.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
          },
        ],
        hooks: {
          draw: [draw],
          setCursor: [
            (uu) => {
              const i = uu.cursor.idx;
              const x = i === null || i === undefined ? null : uu.data[0]?.[i];
              const y = i === null || i === undefined ? null : uu.data[1]?.[i];
              if (x === null || x === undefined || (uu.cursor.left ?? -1) < 0) return setHover(null);
              const at = uu.posToVal(uu.cursor.left ?? 0, "x") * 1000;
              const near = latest.current.events.find((e) => Math.abs(uu.valToPos(e.at_ms / 1000, "x") - (uu.cursor.left ?? 0)) < 7);
              if (near) return setHover(`${t("at_time", { t: duration(near.at_ms) })}: ${near.kind} ${near.subject ?? ""}`);
              const output = latest.current.marks.some((m) => Math.abs(m - at) < latest.current.until * 8);
              setHover(`${t("at_time", { t: duration(x * 1000) })}: ${y === null || y === undefined ? "–" : latest.current.measure.show(y)}${output ? ` · ${t("mark_output")}` : ""}`);
            },
          ],
        },
      },
      [p.times, p.values],
      element,
    );
    plot.current = u;
    const resize = new ResizeObserver(() => {
      if (element.clientWidth > 0) u.setSize({ width: element.clientWidth, height: p.height });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [isDark, p.height, p.measure]);

  useEffect(() => {
    plot.current?.setData([p.times, p.values]);
  }, [p.times, p.values, p.until, p.limit]);

  const limitText = p.limit === null ? t("no_limit") : p.measure.show(p.limit);
  return (
    <div class="chart" data-testid={`chart-${p.measure.key}`} data-points={p.times.length} data-limit={p.limit ?? ""} data-events={p.events.length}>
      <div class="chart-head">
        <span class="chart-title">{t(p.measure.key === "memory" ? "memory" : p.measure.key)}</span>
        <span class="chart-now">{hover ?? `${t("peak")} ${p.measure.show(peak)}`}</span>
        <span class="chart-limit">
          {t("limit")} {limitText}
        </span>
      </div>
      <div class="plot" ref={host} role="img" aria-label={t(`chart_${p.measure.key}` as Key, { peak: p.measure.show(peak), limit: limitText })} />
    </div>
  );
}

let syncs = 0;

export function Charts(props: { samples: Sample[]; events: SandboxEvent[]; marks: number[]; policy: Policy; until: number; full?: boolean }) {
  const sync = useMemo(() => `run${++syncs}`, []);
  const { samples } = props;
  const times = useMemo(() => samples.map((s) => s.at_ms / 1000), [samples]);
  const events = useMemo(() => props.events.filter((e) => e.kind !== "connection").slice(0, 200), [props.events]);
  const series = useMemo(() => MEASURES.map((m) => samples.map((s, i) => m.pick(s, samples[i - 1]))), [samples]);
  if (samples.length === 0) return <p class="note">{t("no_samples")}</p>;
  return (
    <div class={props.full ? "charts full" : "charts"}>
      {MEASURES.map((m, i) => {
        const values = series[i] ?? [];
        if (!props.full && i > 1) return null;
        if (values.every((v) => v === null)) return null;
        const limit = props.policy[m.limitField];
        return (
          <Chart
            key={m.key}
            measure={m}
            times={times}
            values={values}
            limit={typeof limit === "number" && limit > 0 ? limit * m.scale : null}
            events={events}
            marks={props.marks}
            height={props.full ? 170 : 112}
            until={Math.max(props.until, times[times.length - 1] ?? 0)}
            sync={sync}
            full={props.full ?? false}
          />
        );
      })}
    </div>
  );
}
