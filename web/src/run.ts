// SPDX-License-Identifier: MIT
// One run as the page sees it: filled by the stream, read by the views.
import { batch, signal, type Signal } from "@preact/signals";
import { ApiError, call, pathOf, stream } from "./api";
import { t } from "./i18n";
import { bundle, event as readEvent, result as readResult, sample as readSample, toProblem } from "./shape";
import { Term } from "./term";
import type { Bundle, Json, Policy, Problem, Result, Sample, SandboxEvent } from "./types";

export type Block = { kind: "text"; term: Term } | { kind: "display"; bundle: Bundle; index: number };

const SAMPLES_MAX = 4000;
const EVENTS_MAX = 2000;
const DISPLAYS_MAX = 200;

export interface RunRequest {
  code: string;
  preset?: string;
  policy?: Policy;
  session?: string;
  filename?: string;
}

export class Run {
  readonly blocks: Signal<Block[]> = signal([]);
  readonly events: Signal<SandboxEvent[]> = signal([]);
  readonly samples: Signal<Sample[]> = signal([]);
  /** Output's marks on the time line: milliseconds since the start, thinned. */
  readonly marks: Signal<number[]> = signal([]);
  readonly state: Signal<"starting" | "running" | "done"> = signal("starting");
  readonly result: Signal<Result | null> = signal(null);
  readonly problem: Signal<Problem | null> = signal(null);
  readonly id: Signal<string> = signal("");
  readonly startedAt = performance.now();
  private displays = 0;
  private readonly abort = new AbortController();
  private stopped = false;

  constructor(
    readonly code: string,
    readonly policy: Policy,
  ) {}

  private term(): Term {
    const blocks = this.blocks.value;
    const last = blocks[blocks.length - 1];
    if (last?.kind === "text") return last.term;
    const term = new Term((n) => t("output_omitted", { n: n.toLocaleString() }));
    this.blocks.value = [...blocks, { kind: "text", term }];
    return term;
  }

  write(name: "stdout" | "stderr", text: string): void {
    if (!text) return;
    this.term().write(name, text);
    const at = performance.now() - this.startedAt;
    const marks = this.marks.peek();
    if (marks.length < 500 && at - (marks[marks.length - 1] ?? -1000) > 40) this.marks.value = [...marks, at];
  }

  display(b: Bundle): void {
    if (this.displays >= DISPLAYS_MAX) return;
    this.blocks.value = [...this.blocks.value, { kind: "display", bundle: b, index: this.displays++ }];
  }

  private sample(s: Sample): void {
    const have = this.samples.peek();
    // Every second one goes when there are too many: the shape stays.
    this.samples.value = have.length >= SAMPLES_MAX ? [...have.filter((_, i) => i % 2 === 0), s] : [...have, s];
  }

  finish(r: Result): void {
    batch(() => {
      this.result.value = r;
      this.events.value = r.events.slice(0, EVENTS_MAX);
      this.id.value = r.id;
      this.state.value = "done";
    });
  }

  private fail(problem: Problem): void {
    batch(() => {
      this.problem.value = problem;
      this.state.value = "done";
    });
  }

  /** What was recorded, without a stream. */
  static from(code: string, r: Result, samples: Sample[]): Run {
    const run = new Run(code, r.policy);
    run.write("stdout", r.stdout);
    if (r.truncated.stdout) run.write("stdout", `\n… ${r.truncated.stdout} …\n`);
    run.write("stderr", r.stderr);
    for (const b of r.displays) run.display(b);
    run.marks.value = [];
    run.samples.value = samples;
    run.finish(r);
    return run;
  }

  async start(request: RunRequest): Promise<void> {
    try {
      const body = request as unknown as Json;
      for await (const line of stream("/v1/executions", { method: "POST", body, signal: this.abort.signal })) {
        if (line.type === "start") {
          batch(() => {
            this.id.value = String(line.id);
            this.state.value = "running";
          });
        } else if (line.type === "stdout" || line.type === "stderr") this.write(line.type, String(line.text));
        else if (line.type === "event") {
          const have = this.events.peek();
          if (have.length < EVENTS_MAX) this.events.value = [...have, readEvent(line as unknown as Json)];
        } else if (line.type === "sample") this.sample(readSample(line as unknown as Json));
        else if (line.type === "display") this.display(bundle(line.bundle as Json));
        else if (line.type === "result") this.finish(readResult(line.result as unknown as Json));
        else if (line.type === "error") this.fail(toProblem(line as unknown as Json, 500));
      }
      if (this.state.peek() !== "done") this.fail({ name: "Cut", message: t("offline"), field: null });
    } catch (e) {
      if (this.stopped) this.cut();
      else if (e instanceof ApiError) this.fail({ ...e.problem, message: e.problem.message || t("offline") });
      else this.fail({ name: "Cut", message: e instanceof Error ? e.message : String(e), field: null });
    }
  }

  /** The stream's end would come with the result; a caller that goes ends its run as well. */
  async stop(): Promise<void> {
    if (this.state.peek() === "done" || this.stopped) return;
    this.stopped = true;
    const id = this.id.peek();
    try {
      if (!id) throw new Error();
      await call(pathOf("executions", id), { method: "DELETE" });
      // The result follows on the stream; if it does not, the connection goes.
      setTimeout(() => this.state.peek() !== "done" && this.abort.abort(), 3000);
    } catch {
      this.abort.abort();
    }
  }

  private cut(): void {
    const last = this.samples.peek()[this.samples.peek().length - 1];
    this.finish(
      readResult({
        id: this.id.peek(),
        status: "killed",
        policy: this.policy as Json,
        events: this.events.peek() as unknown as Json,
        usage: {
          wall_ms: performance.now() - this.startedAt,
          cpu_ms: last?.cpu_ms ?? 0,
          memory_peak_bytes: Math.max(0, ...this.samples.peek().map((s) => s.memory_bytes)),
        },
      }),
    );
  }
}
