// SPDX-License-Identifier: MIT
// Bundles src/ into dist/: names carry a hash of their content, so that they may be cached for ever; each file also
// compressed; manifest.json is what src/daemon's table of assets is made from. Needs Node.js 18 and `npm ci`.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const src = join(here, "src");
const out = process.argv[2] ?? join(here, "dist");
const TYPES = { js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };

const common = {
  bundle: true,
  write: false,
  minify: true,
  target: ["chrome110", "firefox115", "safari16.4"],
  legalComments: "none",
  logLevel: "warning",
  outdir: out,
  loader: { ".svg": "dataurl" },
};

const assets = [];

function add(path, type, data, immutable, csp) {
  const name = path === "/" ? "index.html" : path.replace(/^\/assets\//, "");
  const etag = createHash("sha256").update(data).digest("base64url").slice(0, 22);
  writeFileSync(join(out, name), data);
  writeFileSync(join(out, `${name}.gz`), gzipSync(data, { level: 9 }));
  assets.push({ path, type, file: name, gzip: `${name}.gz`, etag, immutable, ...(csp ? { csp } : {}) });
}

function hashed(name, ext, data) {
  const hash = createHash("sha256").update(data).digest("hex").slice(0, 12);
  const path = `/assets/${name}.${hash}.${ext}`;
  add(path, TYPES[ext], data, true);
  return path;
}

async function bundle(entry, options = {}) {
  const result = await build({ ...common, entryPoints: [join(src, entry)], ...options });
  const files = {};
  for (const f of result.outputFiles) files[f.path.endsWith(".css") ? "css" : "js"] = Buffer.from(f.contents);
  return files;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

// The script and the style of HTML displays are inline in their frames, which inherit the page's policy: it names them
// by their hashes.
const frameJs = (await bundle("frame.ts", { format: "iife" })).js.toString().trim();
const frameCss = (await bundle("frame.css")).css.toString().trim();
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const csp = [
  "default-src 'none'",
  `script-src 'self' ${hash(frameJs)}`,
  `style-src 'self' ${hash(frameCss)}`,
  "img-src 'self' data:",
  "connect-src 'self'",
  "frame-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
const bootJs = hashed("boot", "js", (await bundle("boot.ts", { format: "iife" })).js);
const app = await bundle("main.tsx", {
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { FRAME_JS: JSON.stringify(frameJs), FRAME_CSS: JSON.stringify(frameCss) },
});
const appJs = hashed("app", "js", app.js);
const appCss = hashed("app", "css", app.css);
const icon = hashed("icon", "svg", readFileSync(join(src, "icon.svg")));

const html = readFileSync(join(src, "index.html"), "utf8")
  .replaceAll("{{app.js}}", appJs)
  .replaceAll("{{app.css}}", appCss)
  .replaceAll("{{boot.js}}", bootJs)
  .replaceAll("{{icon.svg}}", icon);
add("/", "text/html; charset=utf-8", Buffer.from(html), false, csp);

writeFileSync(join(out, "manifest.json"), JSON.stringify(assets, null, 1));
const size = assets.reduce((n, a) => n + readFileSync(join(out, a.gzip)).length, 0);
console.log(`page: ${assets.length} files, ${(size / 1024).toFixed(1)} KiB compressed`);
if (size > 250 * 1024) {
  console.error("page: more than 250 KiB compressed");
  process.exit(1);
}
