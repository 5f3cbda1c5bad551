// SPDX-License-Identifier: MIT
// HTML that a program made. The wall is the frame: `sandbox` without allow-same-origin, under this page's own policy
// (no script but frame.ts, no network). tidy() only takes out before what would be refused there, so that nothing is
// reported; styles travel as data and are set by frame.ts. It never builds a document here: even an inert one would be
// held to this page's policy.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { dark } from "../store";

declare const FRAME_JS: string;
declare const FRAME_CSS: string;

const HTML_MAX = 4 * 1024 * 1024;
/** Elements that go with all that is in them, and those of which only the tags go. */
const WHOLE = new Set(["script", "iframe", "noframes", "noembed", "noscript", "xmp", "plaintext", "template", "object", "applet", "title", "style"]);
const TAGS = new Set(["html", "head", "body", "link", "meta", "base", "frame", "frameset", "embed", "form", "portal", "audio", "video", "source", "track", "foreignobject"]);
const DROPPED = new Set(["srcset", "action", "formaction", "ping", "data", "srcdoc", "target", "nonce", "autofocus", "is", "slot"]);
const PLACES = new Set(["src", "href", "xlink:href", "poster", "background"]);

const localOnly = (css: string): string =>
  css.replace(/@import[^;]*;?/gi, "").replace(/url\(\s*(?!['"]?data:)[^)]*\)/gi, "none").replace(/image-set\(/gi, "none(");

const quoted = (value: string): string => value.replaceAll('"', "&quot;");

function attribute(tag: string, name: string, value: string): string {
  const lower = name.toLowerCase();
  if (!/^[a-z_][\w:.-]*$/.test(lower) || lower.startsWith("on") || lower.startsWith("data-sbx") || DROPPED.has(lower)) return "";
  if (lower === "style") return ` data-sbx-style="${quoted(localOnly(value))}"`;
  if (PLACES.has(lower)) {
    const picture = tag === "img" || tag === "image" || tag === "feimage";
    if (!value.trimStart().startsWith("#") && !(picture && /^\s*data:image\//i.test(value))) return "";
  }
  return ` ${lower}="${quoted(value)}"`;
}

/** Goes through the text once; what it makes is as long as what it was given, about. */
export function tidy(html: string): { body: string; sheets: string[] } {
  const out: string[] = [];
  const sheets: string[] = [];
  const space = /[\s/]*/y;
  const word = /[^\s"'<>/=]+/y;
  const at = (re: RegExp, from: number): string => {
    re.lastIndex = from;
    return re.exec(html)?.[0] ?? "";
  };
  let i = 0;
  while (i < html.length) {
    const open = html.indexOf("<", i);
    if (open < 0) {
      out.push(html.slice(i));
      break;
    }
    out.push(html.slice(i, open));
    i = open + 1;
    if (html[i] === "!" || html[i] === "?") {
      const end = html.startsWith("!--", i) ? html.indexOf("-->", i + 3) : html.indexOf(">", i);
      i = end < 0 ? html.length : end + (html[i + 1] === "-" ? 3 : 1);
      continue;
    }
    const closing = html[i] === "/";
    if (closing) i++;
    const name = at(word, i).toLowerCase();
    if (!/^[a-z]/.test(name)) {
      out.push("&lt;", closing ? "/" : "");
      continue;
    }
    i += name.length;
    let attributes = "";
    for (;;) {
      i += at(space, i).length;
      if (i >= html.length || html[i] === ">") break;
      const key = at(word, i);
      i += key.length || 1;
      let value = "";
      const gap = /\s*=\s*/y;
      const equals = key ? at(gap, i) : "";
      if (equals) {
        i += equals.length;
        const mark = html[i];
        if (mark === '"' || mark === "'") {
          const end = html.indexOf(mark, i + 1);
          value = html.slice(i + 1, end < 0 ? html.length : end);
          i = end < 0 ? html.length : end + 1;
        } else {
          value = at(/[^\s>]*/y, i);
          i += value.length;
        }
      }
      if (key && attributes.length < 65536) attributes += attribute(name, key, value);
    }
    i++;
    if (WHOLE.has(name)) {
      if (closing) continue;
      const end = new RegExp(`</${name}`, "gi");
      end.lastIndex = i;
      const found = end.exec(html);
      const stop = found ? found.index : html.length;
      if (name === "style") sheets.push(localOnly(html.slice(i, stop)));
      i = stop;
    } else if (!TAGS.has(name) && /^[a-z][\w:-]*$/.test(name)) out.push(closing ? `</${name}>` : `<${name}${attributes}>`);
  }
  return { body: out.join(""), sheets };
}

export function srcdoc(html: string, isDark: boolean): string {
  const { body, sheets } = tidy(html.slice(0, HTML_MAX));
  const carriers = sheets.map((css) => `<meta data-sbx-css="${quoted(css.replaceAll("&", "&amp;"))}">`).join("");
  // Before the body: nothing that is left open in there can swallow it.
  return (
    `<!doctype html><html><head><meta charset="utf-8"><title>HTML</title><style>${FRAME_CSS}</style>${carriers}<script>${FRAME_JS}</script></head>` +
    `<body class="${isDark ? "dark" : "light"}">${body}</body></html>`
  );
}

export function HtmlFrame({ html }: { html: string }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [height, setHeight] = useState(60);
  const isDark = dark.value;
  const inner = useMemo(() => srcdoc(html, isDark), [html, isDark]);

  useEffect(() => {
    const hear = (e: MessageEvent): void => {
      if (e.source !== frame.current?.contentWindow) return;
      const n = (e.data as { sandboxFrameHeight?: unknown } | null)?.sandboxFrameHeight;
      if (typeof n === "number" && Number.isFinite(n)) setHeight(Math.max(24, Math.min(900, Math.ceil(n) + 2)));
    };
    addEventListener("message", hear);
    return () => removeEventListener("message", hear);
  }, []);

  return (
    <iframe
      ref={frame}
      class="htmlframe"
      title={t("html_frame")}
      sandbox="allow-scripts"
      referrerpolicy="no-referrer"
      srcdoc={inner}
      style={{ height: `${height}px` }}
    />
  );
}
