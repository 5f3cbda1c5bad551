// SPDX-License-Identifier: MIT
// How a run ended, in words; what it used, against its limits; what was denied, each with the button that allows it.
import { bytes, duration } from "../format";
import { t } from "../i18n";
import type { Key } from "../messages";
import { changeRemedy, fieldOf, limitField, raiseRemedy, setField, showValue, type Remedy } from "../policy";
import type { Run } from "../run";
import type { Policy, Result, SandboxEvent } from "../types";
import { Button, Pill } from "./parts";

export function reason(r: Result): string {
  const field = limitField(r.status);
  if (field) return t(`why_${r.status}` as Key, { limit: showValue(fieldOf(field), r.policy[field] ?? null) });
  if (r.status === "error" && r.error) {
    if (r.error.name === "Signal") return t("why_signal", { value: r.error.value });
    if (r.error.name === "SystemExit") return t("why_exit", { value: r.error.value });
    return t("why_error", { name: r.error.name });
  }
  if (r.status === "fault") return t("why_fault", { value: r.error ? `${r.error.name}: ${r.error.value}` : "–" });
  return t(`why_${r.status}` as Key, { name: "", value: "" });
}

function Meter({ label, value, part, testid }: { label: string; value: string; part: number | null; testid?: string }) {
  const width = part === null ? 0 : Math.max(0.02, Math.min(1, part));
  return (
    <div class="meter" data-testid={testid}>
      <dt>{label}</dt>
      <dd>{value}</dd>
      <span class={`bar ${part !== null && part >= 0.9 ? "full" : ""}`} aria-hidden="true">
        {part !== null && <span style={{ width: `${width * 100}%` }} />}
      </span>
    </div>
  );
}

const numberOf = (p: Policy, name: string): number | null => {
  const v = p[name];
  return typeof v === "number" && v > 0 ? v : null;
};

export function Meters({ r }: { r: Result }) {
  const u = r.usage;
  const time = numberOf(r.policy, "max_execution_time");
  const memory = numberOf(r.policy, "max_memory_mb");
  const cpu = numberOf(r.policy, "max_cpu_time");
  const processes = numberOf(r.policy, "max_processes");
  const disk = numberOf(r.policy, "max_disk_mb");
  return (
    <dl class="meters">
      <Meter label={t("wall")} value={duration(u.wall_ms)} part={time ? u.wall_ms / 1000 / time : null} testid="wall" />
      <Meter label={t("cpu")} value={duration(u.cpu_ms)} part={cpu ? u.cpu_ms / 1000 / cpu : null} />
      <Meter label={t("memory_peak")} value={bytes(u.memory_peak_bytes)} part={memory ? u.memory_peak_bytes / 1048576 / memory : null} />
      <Meter label={t("processes")} value={String(u.processes_peak)} part={processes ? u.processes_peak / processes : null} />
      <Meter label={t("written")} value={bytes(u.written_bytes)} part={disk ? u.written_bytes / 1048576 / disk : null} />
    </dl>
  );
}

function who(source: string): string {
  return source === "kernel" ? t("by_kernel") : source === "supervisor" ? t("by_supervisor") : t("by_python");
}

export function EventLine({ e, onLine }: { e: SandboxEvent; onLine?: ((n: number) => void) | undefined }) {
  if (e.kind === "connection")
    return (
      <span class="event">
        <span class="at">{duration(e.at_ms)}</span>
        {t("connection_event", { n: e.count, host: e.subject ?? "–", sent: bytes(e.sent_bytes ?? 0), received: bytes(e.received_bytes ?? 0) })}
      </span>
    );
  return (
    <span class="event">
      <span class="at">{duration(e.at_ms)}</span>
      <b>{e.kind}</b> <code>{e.subject ?? "–"}</code>
      {e.count > 1 && <span class="count">{t("event_count", { n: e.count })}</span>}
      <span class="by" title={e.source === "python" ? t("by_python_note") : undefined}>
        {who(e.source)} · {e.rule}
      </span>
      {e.line !== null &&
        (onLine ? (
          <button type="button" class="textlink" onClick={() => onLine(e.line ?? 1)}>
            {t("line_n", { n: e.line })}
          </button>
        ) : (
          <span class="by">{t("line_n", { n: e.line })}</span>
        ))}
    </span>
  );
}

/** Remedies of a run, each once. */
function remedies(r: Result, events: SandboxEvent[]): Map<SandboxEvent | null, Remedy> {
  const seen = new Set<string>();
  const out = new Map<SandboxEvent | null, Remedy>();
  for (const e of events) {
    if (!e.change) continue;
    const remedy = changeRemedy(e.change, r.policy);
    if (!remedy || seen.has(remedy.text)) continue;
    seen.add(remedy.text);
    out.set(e, remedy);
    if (out.size === 20) break;
  }
  const raise = raiseRemedy(r.status, r.policy);
  if (raise) out.set(null, raise);
  return out;
}

export function Verdict({ run, onLine, onRemedy }: { run: Run; onLine?: (n: number) => void; onRemedy?: () => void }) {
  const r = run.result.value;
  const problem = run.problem.value;
  if (problem)
    return (
      <div class="verdict refused" role="status" data-testid="verdict" data-status="refused">
        <div class="headline">
          <span class="pill grey">{problem.name}</span>
          <span class="why">{problem.message}</span>
        </div>
      </div>
    );
  if (!r) return null;
  const denials = run.events.value.filter((e) => e.kind !== "limit" && e.kind !== "connection");
  const connections = run.events.value.filter((e) => e.kind === "connection");
  const fixes = onRemedy ? remedies(r, denials) : new Map<SandboxEvent | null, Remedy>();
  const apply = (remedy: Remedy): void => {
    setField(remedy.field, remedy.value);
    onRemedy?.();
  };
  const raise = fixes.get(null);
  const line = r.error?.line ?? null;
  return (
    <div class={`verdict`} role="status" data-testid="verdict" data-status={r.status}>
      <div class="headline">
        <Pill status={r.status} />
        <span class="why">{reason(r)}</span>
        {line !== null && onLine && (
          <button type="button" class="textlink" onClick={() => onLine(line)}>
            {t("go_to_line", { n: line })}
          </button>
        )}
        {raise && (
          <Button kind="remedy" onClick={() => apply(raise)} testid="remedy">
            {t("remedy_apply", { change: raise.text })}
          </Button>
        )}
      </div>
      {r.error && r.status === "error" && r.error.name !== "Signal" && r.error.name !== "SystemExit" && r.error.value && (
        <p class="message">{r.error.value.slice(0, 2000)}</p>
      )}
      {r.session_ended && <p class="message">{t("session_gone_why", { why: r.session_ended })}</p>}
      <Meters r={r} />
      {denials.length > 0 && (
        <ul class="denials" aria-label={t("denials")}>
          {denials.slice(0, 100).map((e, i) => {
            const fix = fixes.get(e);
            return (
              <li key={i}>
                <EventLine e={e} onLine={onLine} />
                {fix && (
                  <Button kind="remedy" onClick={() => apply(fix)} testid="remedy">
                    {t("remedy_apply", { change: fix.text })}
                  </Button>
                )}
              </li>
            );
          })}
        </ul>
      )}
      {connections.length > 0 && (
        <ul class="denials plain">
          {connections.slice(0, 50).map((e, i) => (
            <li key={i}>
              <EventLine e={e} />
            </li>
          ))}
        </ul>
      )}
      {r.recorded === false && r.record_error && <p class="message">{t("not_recorded", { why: r.record_error })}</p>}
    </div>
  );
}
