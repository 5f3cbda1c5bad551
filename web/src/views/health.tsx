// SPDX-License-Identifier: MIT
import { useEffect, useRef, useState } from "preact/hooks";
import { call, callText } from "../api";
import { t } from "../i18n";
import { latency, parseMetrics, total, type Bucket } from "../metrics";
import { doctor } from "../shape";
import { complaint, health, loadHealth } from "../store";
import type { Doctor, Wall } from "../types";
import { Icon } from "../ui/icons";
import { Card, Empty } from "../ui/parts";

function Bricks({ walls, chosen, onChoose }: { walls: Wall[]; chosen: number; onChoose: (i: number) => void }) {
  return (
    <div class="wall" role="group" aria-label={t("health_wall")} data-testid="wall">
      {walls.map((w, i) => (
        <button
          type="button"
          key={w.name}
          class={`brick ${w.stands ? "" : "missing"} ${i === chosen ? "on" : ""}`}
          aria-pressed={i === chosen}
          onClick={() => onChoose(i)}
          onFocus={() => onChoose(i)}
          onMouseEnter={() => onChoose(i)}
        >
          <Icon name={w.stands ? "ok" : "deny"} />
          <span>{w.name}</span>
          <span class="sr">{w.stands ? t("health_stands") : t("health_missing")}</span>
        </button>
      ))}
    </div>
  );
}

function WallDetail({ w }: { w: Wall }) {
  return (
    <dl class="facts wall-detail" aria-live="polite">
      <div>
        <dt>{w.name}</dt>
        <dd class={w.stands ? "good-text" : "deny-text"}>{w.stands ? t("health_stands") : t("health_missing")}</dd>
      </div>
      <div>
        <dt>{t("health_enforces")}</dt>
        <dd>{w.enforced}</dd>
      </div>
      <div>
        <dt>{t("health_detail")}</dt>
        <dd>{w.detail}</dd>
      </div>
      <div>
        <dt>{t("health_probe")}</dt>
        <dd>
          <code>{w.probed_with}</code>
        </dd>
      </div>
      {w.remedy && (
        <div>
          <dt>{t("health_remedy")}</dt>
          <dd>{w.remedy}</dd>
        </div>
      )}
    </dl>
  );
}

function Histogram({ buckets }: { buckets: Bucket[] }) {
  const used = buckets.filter((b) => b.count > 0);
  if (!used.length) return <p class="note">{t("health_no_metrics")}</p>;
  const first = buckets.findIndex((b) => b.count > 0);
  const last = buckets.length - 1 - [...buckets].reverse().findIndex((b) => b.count > 0);
  const shown = buckets.slice(Math.max(0, first - 1), last + 2);
  const most = Math.max(...shown.map((b) => b.count));
  const label = (le: number): string => (!Number.isFinite(le) ? "∞" : le < 1000 ? `${le} ms` : `${le / 1000} s`);
  return (
    <div class="histogram" role="list" aria-label={t("health_latency_note")} data-testid="histogram">
      {shown.map((b) => (
        <div role="listitem" key={b.le} aria-label={t("health_latency_bar", { n: b.count, le: label(b.le) })} title={t("health_latency_bar", { n: b.count, le: label(b.le) })}>
          <span class="amount">{b.count || ""}</span>
          <span class={b.count ? "column" : "column none"} style={{ height: `${(b.count / most) * 100}%` }} />
          <span class="le">{label(b.le)}</span>
        </div>
      ))}
    </div>
  );
}

export function HealthView() {
  const [doc, setDoc] = useState<Doctor | null>(null);
  const [problem, setProblem] = useState("");
  const [chosen, setChosen] = useState(0);
  const [buckets, setBuckets] = useState<Bucket[]>([]);
  const [runs, setRuns] = useState({ total: 0, rate: 0 });
  const before = useRef<{ at: number; total: number } | null>(null);

  useEffect(() => {
    call("/v1/doctor").then(
      (v) => {
        const d = doctor(v);
        setDoc(d);
        const gap = d.walls.findIndex((w) => !w.stands);
        if (gap >= 0) setChosen(gap);
      },
      (e: unknown) => setProblem(complaint(e)),
    );
    let gone = false;
    const ask = async (): Promise<void> => {
      void loadHealth();
      try {
        const metrics = parseMetrics(await callText("/metrics", "text/plain"));
        if (gone) return;
        setBuckets(latency(metrics));
        const sum = total(metrics);
        const at = performance.now();
        const old = before.current;
        setRuns({ total: sum, rate: old && at > old.at ? ((sum - old.total) * 1000) / (at - old.at) : 0 });
        before.current = { at, total: sum };
      } catch {
        // A server without figures shows none.
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), 2000);
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, []);

  const h = health.value;
  const missing = doc?.walls.filter((w) => !w.stands).length ?? 0;
  const wall = doc?.walls[chosen];
  return (
    <div class="page health">
      <div class="page-head">
        <h1>{t("health_title")}</h1>
        {doc && (
          <span class={`pill ${missing ? "deny" : "good"}`}>
            <Icon name={missing ? "deny" : "ok"} />
            {missing ? t("health_gaps", { missing, n: doc.walls.length }) : t("health_all_stand", { n: doc.walls.length })}
          </span>
        )}
      </div>
      {problem && <p class="complaint" role="alert">{problem}</p>}
      {!doc && !problem && <Empty>{t("loading")}</Empty>}
      {doc && (
        <Card title={t("health_wall")} actions={<span class="muted small">{[doc.kernel && `Linux ${doc.kernel}`, doc.machine, doc.version && `sandbox ${doc.version}`].filter(Boolean).join(" · ")}</span>}>
          <Bricks walls={doc.walls} chosen={chosen} onChoose={setChosen} />
          {wall && <WallDetail w={wall} />}
        </Card>
      )}
      <div class="columns">
        <Card title={t("health_pools")}>
          <dl class="facts">
            {(
              [
                [t("health_running"), h?.running ?? 0],
                [t("health_queued"), h?.queued ?? 0],
                [t("health_sessions"), h?.sessions ?? 0],
              ] as const
            ).map(([k, v]) => (
              <div key={k}>
                <dt>{k}</dt>
                <dd class="big">{v}</dd>
              </div>
            ))}
          </dl>
          {h && h.templates.length > 0 && (
            <table class="plain-table">
              <thead>
                <tr>
                  <th scope="col">{t("health_pool_name")}</th>
                  <th scope="col" class="num">{t("health_pool_ready")}</th>
                  <th scope="col" class="num">{t("health_running")}</th>
                </tr>
              </thead>
              <tbody>
                {h.templates.map((x) => (
                  <tr key={x.name}>
                    <td>{x.name}</td>
                    <td class="num">{`${x.waiting} / ${x.target}`}</td>
                    <td class="num">{x.running}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Card>
        <Card title={t("health_latency")} actions={<span class="muted small">{t("health_latency_note")}</span>}>
          <Histogram buckets={buckets} />
          <p class="note">
            {t("health_throughput")}: {t("health_per_second", { n: runs.rate.toFixed(runs.rate < 10 ? 1 : 0) })} · {t("health_total", { n: runs.total.toLocaleString() })}
          </p>
        </Card>
      </div>
    </div>
  );
}
