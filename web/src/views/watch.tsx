// SPDX-License-Identifier: MIT
import { useEffect, useState } from "preact/hooks";
import { call, pathOf, query } from "../api";
import { firstLine, moment, shortId } from "../format";
import { locale, t } from "../i18n";
import { list, record, row } from "../shape";
import { complaint, current, href, say } from "../store";
import { Live } from "../ui/live";
import { Button, Card, Empty, Pill } from "../ui/parts";
import { EventLine, Meters } from "../ui/verdict";
import type { Row } from "../types";

export function WatchView() {
  const run = current.value;
  const [others, setOthers] = useState<Row[]>([]);

  useEffect(() => {
    let gone = false;
    const ask = async (): Promise<void> => {
      try {
        const answer = await call(query("/v1/executions", { status: "running", limit: 50 }));
        const rows = list(record(answer)["executions"]).map(row);
        if (!gone) setOthers(rows);
      } catch {
        if (!gone) setOthers([]);
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), 2000);
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, []);

  const end = async (id: string): Promise<void> => {
    try {
      await call(pathOf("executions", id), { method: "DELETE" });
    } catch (e) {
      say(complaint(e));
    }
  };

  const rest = others.filter((o) => o.id !== run?.id.value);
  return (
    <div class="page">
      <div class="page-head">
        <h1>{t("watch_title")}</h1>
        {run && <span class="muted">{t("watch_here")} {run.id.value && <code>{shortId(run.id.value)}</code>}</span>}
        <span class="spacer" />
        {run && run.state.value !== "done" && (
          <Button kind="danger" icon="stop" onClick={() => void run.stop()}>
            {t("stop")}
          </Button>
        )}
      </div>
      {run ? (
        <Card>
          {run.result.value ? (
            <div class="watch-verdict">
              <Pill status={run.result.value.status} />
              <Meters r={run.result.value} />
            </div>
          ) : (
            <span class="pill live">
              <span class="pulse" aria-hidden="true" />
              {t("running")}
            </span>
          )}
          <Live run={run} full />
          {run.events.value.length > 0 && (
            <ul class="denials" aria-label={t("denials")}>
              {run.events.value.slice(0, 50).map((e, i) => (
                <li key={i}>
                  <EventLine e={e} />
                </li>
              ))}
            </ul>
          )}
        </Card>
      ) : (
        <Empty icon="watch">{t("watch_empty")}</Empty>
      )}
      {rest.length > 0 && (
        <Card title={t("watch_others")}>
          <ul class="running">
            {rest.map((o) => (
              <li key={o.id}>
                <a href={href("history", o.id)}>
                  <code>{shortId(o.id)}</code> {firstLine(o.code)}
                </a>
                <span class="muted">
                  {o.caller} · {moment(o.at, locale())}
                </span>
                <Button icon="stop" kind="quiet" label={`${t("stop")} ${shortId(o.id)}`} onClick={() => void end(o.id)} />
              </li>
            ))}
          </ul>
        </Card>
      )}
    </div>
  );
}
