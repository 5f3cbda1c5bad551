// SPDX-License-Identifier: MIT
// A browser for the page's tests: Debian's chromium, driven by playwright-core. What the console says and what the
// Content-Security-Policy refuses is kept with each page; a test that ends with any of it fails.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "web");
const { chromium } = await import(join(web, "node_modules", "playwright-core", "index.mjs"));
const axe = readFileSync(join(web, "node_modules", "axe-core", "axe.min.js"), "utf8");

export const { startFake } = await import(join(web, "test", "fake-server.mjs"));
export const { programs } = await import(join(web, "test", "programs.mjs"));

const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

export const launch = () => chromium.launch({ executablePath, args: process.getuid() === 0 ? ["--no-sandbox"] : [] });

export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1360, height: 860 }, acceptDownloads: true, permissions: ["clipboard-read", "clipboard-write"], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const problems = [];
  const requests = [];
  page.on("pageerror", (e) => problems.push(`error: ${e.message}`));
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && !/status of (401|404)/.test(m.text()) && problems.push(`console: ${m.text()}`));
  page.on("dialog", (d) => (problems.push(`dialog: ${d.message()}`), d.dismiss()));
  page.on("request", (r) => requests.push(r.url()));
  await page.goto(url);
  const see = (id) => page.locator(`[data-testid=${id}]`);
  const verdict = (status) => page.locator(`[data-testid=verdict][data-status=${status}]`).waitFor();
  // As a person would: what the browser deletes by itself it may put back with a style, which the policy refuses.
  const type = async (code, into = page) => {
    await into.locator(".cm-content").first().click();
    await page.keyboard.press("Control+A");
    await page.keyboard.press("Delete");
    await page.keyboard.insertText(code);
  };
  return {
    context, page, problems, requests, see, verdict, type,
    go: async (view) => {
      await page.evaluate((v) => (location.hash = `/${v}`), view);
      await page.locator("h1").first().waitFor({ state: "attached" });
    },
    run: async (code, status, preset) => {
      if (preset) await page.selectOption("[data-testid=preset]", preset);
      await type(code);
      await see("run").click();
      if (status) await verdict(status);
    },
    output: () => see("output").innerText(),
    /** No script ran that should not, nothing was refused, nothing left this server. */
    done: async () => {
      assert.deepEqual(problems, []);
      assert.equal(await page.title(), (await page.evaluate(() => document.documentElement.lang)) === "zh-CN" ? "沙箱" : "Sandbox");
      const origin = new URL(url).origin;
      assert.deepEqual(requests.filter((r) => !r.startsWith(origin) && !/^(data|blob|about):/.test(r)), []);
      await context.close();
    },
    axe: async (what) => {
      // A world of its own would not do: the page's policy refuses evaluated text only from the page itself.
      const found = await page.evaluate(`(() => { ${axe}; return axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join(" | "))); })()`);
      assert.deepEqual(found, [], what);
    },
    download: async (click) => {
      const [download] = await Promise.all([page.waitForEvent("download"), click()]);
      return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
    },
  };
}
