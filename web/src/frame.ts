// SPDX-License-Identifier: MIT
// Runs inside the sandboxed frame of an HTML display: an origin of its own, no network, and the page's policy, so that
// this is the only script there. Styles of the display come as data (ui/htmlframe.tsx) and are set through the CSSOM,
// which needs no unsafe-inline. Tells the page how tall it is.
addEventListener("DOMContentLoaded", () => {
  for (const el of document.querySelectorAll<HTMLElement>("[data-sbx-style]")) {
    el.style.cssText = el.dataset["sbxStyle"] ?? "";
    el.removeAttribute("data-sbx-style");
  }
  const sheets: CSSStyleSheet[] = [];
  for (const t of document.querySelectorAll<HTMLElement>("[data-sbx-css]")) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(t.dataset["sbxCss"] ?? "");
    sheets.push(sheet);
    t.remove();
  }
  document.adoptedStyleSheets = sheets;
  const tell = (): void => parent.postMessage({ sandboxFrameHeight: document.documentElement.scrollHeight }, "*");
  new ResizeObserver(tell).observe(document.body);
  addEventListener("load", tell);
  tell();
});
