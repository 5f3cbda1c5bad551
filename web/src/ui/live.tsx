// SPDX-License-Identifier: MIT
// Charts of a run that is going on: the time axis goes on, too.
import { useEffect, useState } from "preact/hooks";
import type { Run } from "../run";
import { Charts } from "./charts";

export function Live({ run, full }: { run: Run; full?: boolean }) {
  const state = run.state.value;
  const [now, setNow] = useState(0);
  useEffect(() => {
    if (state === "done") return undefined;
    const timer = setInterval(() => setNow(performance.now() - run.startedAt), 100);
    return () => clearInterval(timer);
  }, [state, run]);
  const wall = run.result.value?.usage.wall_ms;
  const until = (state === "done" ? (wall ?? now) : now) / 1000;
  return <Charts samples={run.samples.value} events={run.events.value} marks={run.marks.value} policy={run.result.value?.policy ?? run.policy} until={until} full={full ?? false} />;
}
