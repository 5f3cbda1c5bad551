// SPDX-License-Identifier: MIT
// The page out of the binary, over a real server with a journal: what it asks is what the server answers.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, openPage, programs } from "./browser.mjs";

const binary = process.env.SANDBOX_BIN ?? join(dirname(fileURLToPath(import.meta.url)), "..", "..", "build", "sandbox");
let browser, server, link, directory;

before(async () => {
  assert.ok(existsSync(binary), `${binary} is not built`);
  directory = mkdtempSync(join(tmpdir(), "sandbox-page-"));
  server = spawn(binary, ["serve", "--listen", "127.0.0.1:0", "--socket", join(directory, "s"), "--journal", join(directory, "journal")], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, JOURNAL_STREAM: "" } });
  let said = "";
  link = await new Promise((resolve, reject) => {
    server.stderr.on("data", (d) => {
      said += d;
      const found = /open (http:\/\/\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    server.on("exit", () => reject(new Error(said)));
  });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  const gone = new Promise((r) => server.on("exit", r));
  server.kill("SIGTERM");
  await gone;
  rmSync(directory, { recursive: true });
});
const open = () => openPage(browser, link);
const base = () => new URL(link).origin;

test("the binary's page: compressed, kept, and under a policy without unsafe-inline", async () => {
  const root = await fetch(`${base()}/`);
  const csp = root.headers.get("content-security-policy");
  assert.match(csp, /^default-src 'none'; script-src 'self' 'sha256-[^ ;]+'; style-src 'self' 'sha256-[^ ;]+'; /);
  assert.ok(!csp.includes("unsafe"));
  const html = await root.text();
  const script = /src="(\/assets\/app\.[0-9a-f]+\.js)"/.exec(html)[1];
  const packed = await fetch(base() + script, { headers: { "Accept-Encoding": "gzip" } });
  assert.equal(packed.headers.get("content-encoding"), "gzip");
  assert.match(packed.headers.get("cache-control"), /immutable/);
  assert.equal(packed.headers.get("vary"), "Accept-Encoding");
  const plain = await fetch(base() + script, { headers: { "Accept-Encoding": "identity" } });
  assert.equal(plain.headers.get("content-encoding"), null);
  assert.equal(await plain.text(), await packed.text());
  assert.equal((await fetch(`${base()}/assets/none.js`)).status, 404);
});

test("run, stream, error, denial and remedy, limit, stop", async () => {
  const p = await open();
  await p.run(programs.hello, "ok");
  assert.match(await p.output(), /hello page[\s\S]*42/);
  await p.run(programs.stream, null, "data");
  await p.page.locator(".term").getByText("line 1").waitFor();
  assert.equal(await p.see("verdict").getAttribute("data-status"), "running");
  await p.verdict("ok");
  await p.run(programs.error, "error");
  assert.equal(await p.page.locator(".cm-error-line").innerText(), 'raise ValueError("no luck")');
  await p.run(programs.denied, "denied", "strict");
  await p.see("remedy").first().click();
  await p.page.waitForFunction(() => /changed/.test(document.querySelector("[data-testid=policy-summary]").textContent));
  await p.run(programs.memory, "memory");
  assert.match(await p.see("verdict").innerText(), /more memory than 100 MiB[\s\S]*Raise max_memory_mb to 200 MiB/);
  await p.run(programs.forever);
  await p.page.locator(".term").getByText("going").waitFor();
  await p.see("stop").click();
  await p.verdict("killed");
  await p.done();
});

test("charts live, and the same from the journal, with its integrity", async () => {
  const p = await open();
  await p.run(programs.grow, null, "data");
  await p.page.waitForFunction(() => Number(document.querySelector("[data-testid=chart-memory]")?.dataset.points) >= 5);
  await p.verdict("ok");
  const points = Number(await p.see("chart-memory").getAttribute("data-points"));
  assert.ok(points >= 10);
  await p.go("history");
  await p.page.locator(".row").first().click();
  await p.see("chart-memory").waitFor();
  assert.ok(Number(await p.see("chart-memory").getAttribute("data-points")) >= 10);
  assert.match(await p.see("detail-code").locator(".cm-content").innerText(), /# test: grow/);
  assert.match(await p.page.locator(".integrity").innerText(), /In the chain of the journal, \d+ records[\s\S]*head [0-9a-f]{12}/);
  assert.match(await p.output(), /step 19/);
  await p.page.goBack();
  await p.see("history-search").fill("bytearray");
  await p.page.waitForFunction(() => [...document.querySelectorAll(".row .line")].length > 0 && [...document.querySelectorAll(".row .line")].every((x) => /grow|memory/.test(x.textContent)));
  await p.see("history-search").fill("");
  await p.see("history-status").selectOption("denied");
  await p.page.waitForFunction(() => document.querySelectorAll(".row").length > 0 && [...document.querySelectorAll(".row .pill")].every((x) => x.dataset.status === "denied"));
  await p.page.locator(".row").first().click();
  assert.match(await p.see("verdict").innerText(), /statistics/);
  await p.done();
});

test("a session: value, variables, completion, files, interrupt, restart", async () => {
  const p = await open();
  await p.page.selectOption("[data-testid=preset]", "data");
  await p.go("sessions");
  await p.see("new-session").click();
  const cell = (n) => p.see("cell").nth(n);
  await p.type("answer = 42\nanswer", cell(0));
  await p.page.keyboard.press("Shift+Enter");
  await cell(0).locator(".cell-count", { hasText: "[1]" }).waitFor();
  assert.match(await cell(0).innerText(), /42/);
  await p.see("variables").getByText("answer").waitFor();
  await cell(1).locator(".cm-content").click();
  await p.page.keyboard.type("answ");
  await p.page.locator(".cm-tooltip-autocomplete").getByText("answer").waitFor();
  await p.page.keyboard.press("Escape");
  await p.see("drop").locator("input").setInputFiles({ name: "data.csv", mimeType: "text/csv", buffer: Buffer.from("a,b\n1,2\n") });
  await p.see("session-files").getByText("data.csv").waitFor();
  await p.type("open('data.csv').read()", cell(1));
  await p.page.keyboard.press("Control+Enter");
  await cell(1).getByText("a,b").waitFor();
  const csv = await p.download(() => p.page.getByRole("button", { name: "Download data.csv" }).click());
  assert.equal(csv.text, "a,b\n1,2\n");
  await p.type(programs.forever, cell(1));
  await p.page.keyboard.press("Control+Enter");
  await cell(1).locator(".term").getByText("going").waitFor();
  await p.see("interrupt").click();
  await cell(1).locator("[data-status=error]").waitFor();
  assert.match(await cell(1).innerText(), /KeyboardInterrupt/);
  await p.see("restart").click();
  await p.see("variables").getByText("No variables yet.").waitFor();
  await p.see("end").click();
  await p.page.getByText("This session has ended").waitFor();
  await p.done();
});

test("hostile output over a real stream", async () => {
  const p = await open();
  await p.run(programs.hostile, "ok", "data");
  assert.equal(await p.page.locator(".term script, .term img").count(), 0);
  for (const name of ["flood", "ansi"]) {
    await p.run(programs[name], "ok");
    await p.page.waitForFunction(() => document.querySelector("[data-testid=output]").textContent.includes("the end"));
  }
  await p.run(programs.html, "ok");
  await p.run(programs.svg, "ok");
  await p.go("health");
  await p.see("wall").waitFor();
  await p.see("histogram").waitFor();
  await p.go("policy");
  assert.ok((await p.page.locator(".field").count()) >= 18);
  await p.done();
});
