// SPDX-License-Identifier: MIT
// What a program displays, one bundle at a time: the best form that can be shown safely.
import { useMemo, useState } from "preact/hooks";
import { base64ToBytes, saveBlob, saveText } from "../format";
import { t } from "../i18n";
import { isRecord, text } from "../shape";
import type { Bundle, Json } from "../types";
import { chartTable, toTable } from "../values";
import { HtmlFrame } from "./htmlframe";
import { Button, DataTable, Segmented } from "./parts";

const CHART = "application/vnd.sandbox.chart+json";
const FRAME = "application/vnd.sandbox.frame+json";
const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/** As an image a picture runs no script and loads nothing, SVG included; data: keeps it out of this origin. */
function pictureUrl(b: Bundle): string | null {
  for (const mime of IMAGES) {
    const value = b[mime];
    if (typeof value === "string") return `data:${mime};base64,${value.replace(/[^A-Za-z0-9+/=]/g, "")}`;
  }
  const svg = b["image/svg+xml"];
  return typeof svg === "string" ? `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}` : null;
}

function Figure({ b }: { b: Bundle }) {
  const [view, setView] = useState<"image" | "data">("image");
  const table = useMemo(() => (b[CHART] === undefined ? null : chartTable(b[CHART] as Json)), [b]);
  const url = useMemo(() => pictureUrl(b), [b]);
  const title = isRecord(b[CHART]) ? text(b[CHART]["title"]) : "";
  const save = (): void => {
    const svg = b["image/svg+xml"];
    if (typeof svg === "string") return saveText(svg, "figure.svg");
    for (const mime of IMAGES) {
      const value = b[mime];
      const bytes = typeof value === "string" ? base64ToBytes(value) : null;
      if (bytes) return saveBlob(new Blob([bytes]), `figure.${mime.split("/")[1]}`);
    }
  };
  return (
    <figure class="figure">
      {view === "image" && url ? <img src={url} alt={title || t("figure_alt")} /> : table && <DataTable table={table} label={t("figure_data")} />}
      <figcaption>
        {table && url && (
          <Segmented
            label={t("figure")}
            value={view}
            options={[
              ["image", t("figure_image")],
              ["data", t("figure_data")],
            ]}
            onChange={setView}
          />
        )}
        <Button icon="download" kind="quiet" label={t("download")} onClick={save} />
      </figcaption>
    </figure>
  );
}

function Html({ html, plain }: { html: string; plain: string }) {
  const [view, setView] = useState<"view" | "text">("view");
  return (
    <div class="html">
      {view === "view" ? <HtmlFrame html={html} /> : <pre class="term plain" tabIndex={0}>{html.slice(0, 200_000) || plain}</pre>}
      <Segmented
        label="HTML"
        value={view}
        options={[
          ["view", t("html_view")],
          ["text", t("html_text")],
        ]}
        onChange={setView}
      />
    </div>
  );
}

const cut = (s: string): string => (s.length > 200_000 ? s.slice(0, 200_000) + "…" : s);

export function Display({ b }: { b: Bundle }) {
  const frame = b[FRAME];
  const table = useMemo(() => (frame === undefined ? null : toTable(frame)), [frame]);
  if (table) return <DataTable table={table} label={t("value")} />;
  if (b[CHART] !== undefined || IMAGES.some((m) => typeof b[m] === "string") || typeof b["image/svg+xml"] === "string")
    return <Figure b={b} />;
  const plain = text(b["text/plain"]);
  if (typeof b["text/html"] === "string") return <Html html={b["text/html"]} plain={plain} />;
  const pdf = b["application/pdf"];
  if (typeof pdf === "string") {
    const bytes = base64ToBytes(pdf);
    if (bytes) return <Button icon="download" onClick={() => saveBlob(new Blob([bytes]), "display.pdf")}>PDF</Button>;
  }
  const written = b["text/markdown"] ?? b["text/latex"];
  if (typeof written === "string") return <pre class="term plain" tabIndex={0}>{cut(written)}</pre>;
  if (b["application/json"] !== undefined) return <pre class="term plain" tabIndex={0}>{cut(JSON.stringify(b["application/json"], null, 2))}</pre>;
  return <pre class="term plain" tabIndex={0}>{cut(plain)}</pre>;
}
