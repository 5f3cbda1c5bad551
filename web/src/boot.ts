// SPDX-License-Identifier: MIT
// Before the first paint: the theme and the language that were chosen, so that nothing flashes.
(() => {
  const root = document.documentElement;
  let theme: string | null = null;
  let language: string | null = null;
  try {
    theme = localStorage.getItem("sandbox.theme");
    language = localStorage.getItem("sandbox.language");
  } catch {
    // Storage that is switched off means the browser's own choices.
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  root.lang = (language ?? navigator.language).startsWith("zh") ? "zh-CN" : "en";
})();
