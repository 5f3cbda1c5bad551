// SPDX-License-Identifier: MIT
// The page: a shell with its views. What comes in the fragment (a token, a link) is taken out of the address at once.
import "./app.css";
import "uplot/dist/uPlot.min.css";
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, call, hasToken, locked, offline, setToken } from "./api";
import { language, setLanguage, t } from "./i18n";
import type { Key } from "./messages";
import { changes, preset } from "./policy";
import { fromFragment } from "./share";
import { setCode, go, health, href, loadHealth, loadPolicy, origin, route, setTheme, theme, toast, type Theme } from "./store";
import { Icon, type IconName } from "./ui/icons";
import { Button, Empty, Marked } from "./ui/parts";
import { CompareView, DetailView } from "./views/detail";
import { HealthView } from "./views/health";
import { HistoryView } from "./views/history";
import { PolicyView } from "./views/policy";
import { RunView } from "./views/run";
import { SessionsView } from "./views/sessions";
import { WatchView } from "./views/watch";

const VIEWS: [string, Key, IconName][] = [
  ["run", "nav_run", "run"],
  ["watch", "nav_watch", "watch"],
  ["policy", "nav_policy", "policy"],
  ["history", "nav_history", "history"],
  ["sessions", "nav_sessions", "sessions"],
  ["health", "nav_health", "health"],
];

let pendingLink: string | null = null;

function takeFragment(): void {
  const hash = location.hash.slice(1);
  if (!hash || hash.startsWith("/")) return;
  const values = new URLSearchParams(hash);
  const token = values.get("token");
  if (token) setToken(token.trim());
  pendingLink = values.get("link");
  if (token !== null || pendingLink !== null) history.replaceState(null, "", location.pathname + "#/run");
}

async function openLink(): Promise<void> {
  if (!pendingLink) return;
  const link = await fromFragment(pendingLink);
  pendingLink = null;
  if (!link) return;
  setCode(link.code);
  preset.value = link.preset;
  changes.value = link.changes;
  origin.value = { kind: "link" };
  go("run");
}

async function begin(): Promise<void> {
  await Promise.all([loadPolicy(), loadHealth()]);
  if (!locked.peek()) await openLink();
}

function Login() {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState(hasToken());
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const submit = async (): Promise<void> => {
    // A whole link is as good as the token in it.
    const value = /token=([^&\s]+)/.exec(text)?.[1] ?? text.trim();
    if (!value) return;
    setToken(value);
    try {
      await call("/v1/policy");
      locked.value = false;
      await begin();
    } catch (e) {
      if (e instanceof ApiError && e.status !== 401) {
        locked.value = false;
        await begin();
      } else setWrong(true);
    }
  };
  return (
    <div class="login">
      <form
        class="card"
        onSubmit={(e) => {
          e.preventDefault();
          void submit();
        }}
      >
        <h1>{t("login_title")}</h1>
        <p>
          <Marked text={t("login_text")} />
        </p>
        <pre class="command">cat TOKEN_FILE</pre>
        <label class="block">
          {t("login_field")}
          <input ref={field} type="password" autocomplete="off" spellcheck={false} value={text} onInput={(e) => setText(e.currentTarget.value)} data-testid="token" />
        </label>
        {wrong && (
          <p class="complaint" role="alert">
            {t("login_wrong")}
          </p>
        )}
        <button type="submit" class="button primary" data-testid="login">
          {t("login_button")}
        </button>
        <p class="note">{t("login_note")}</p>
      </form>
    </div>
  );
}

function Preferences() {
  const next: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
  const icon: Record<Theme, IconName> = { auto: "auto", light: "sun", dark: "moon" };
  return (
    <div class="preferences">
      <Button
        icon={icon[theme.value]}
        kind="quiet"
        label={`${t("theme")}: ${t(`theme_${theme.value}` as Key)}`}
        onClick={() => setTheme(next[theme.value])}
        testid="theme"
      />
      <button type="button" class="button quiet" lang={language.value === "zh" ? "en" : "zh-CN"} onClick={() => setLanguage(language.value === "zh" ? "en" : "zh")} data-testid="language">
        {t("other_language")}
      </button>
    </div>
  );
}

function View() {
  const { view, args } = route.value;
  switch (view) {
    case "run":
      return <RunView />;
    case "watch":
      return <WatchView />;
    case "policy":
      return <PolicyView />;
    case "history":
      return args[0] ? <DetailView id={args[0]} key={args[0]} /> : <HistoryView />;
    case "compare":
      return <CompareView a={args[0] ?? ""} b={args[1] ?? ""} />;
    case "sessions":
      return <SessionsView />;
    case "health":
      return <HealthView />;
    default:
      return <Empty>–</Empty>;
  }
}

function App() {
  const view = route.value.view;
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    main.current?.scrollTo(0, 0);
  }, [view, route.value.args.join("/")]);
  if (locked.value)
    return (
      <div class="shell bare">
        <main ref={main}>
          <Login />
        </main>
        <Preferences />
      </div>
    );
  return (
    <div class="shell">
      <a
        class="skip"
        href="#main"
        onClick={(e) => {
          e.preventDefault();
          main.current?.focus();
        }}
      >
        {t("skip")}
      </a>
      <div class="side" role="banner">
        <div class="brand">
          <span class="mark" aria-hidden="true" />
          <b>{t("app")}</b>
        </div>
        <nav aria-label={t("nav")}>
          {VIEWS.map(([name, key, icon]) => {
            const on = view === name || (view === "compare" && name === "history");
            return (
              <a key={name} href={href(name)} class={on ? "on" : ""} aria-current={on ? "page" : undefined}>
                <Icon name={icon} />
                <span>{t(key)}</span>
              </a>
            );
          })}
        </nav>
        <Preferences />
        {health.value?.version && <span class="version">{health.value.version}</span>}
      </div>
      <main ref={main} id="main" tabIndex={-1}>
        {offline.value && (
          <p class="banner offline" role="alert">
            <Marked text={t("offline")} />
            <Button onClick={() => void begin()}>{t("retry")}</Button>
          </p>
        )}
        <View />
      </main>
      <div class="toast" role="status" aria-live="polite">
        {toast.value && <span>{toast.value}</span>}
      </div>
    </div>
  );
}

takeFragment();
window.addEventListener("hashchange", () => {
  takeFragment();
  if (pendingLink) void openLink();
});
const host = document.getElementById("app");
if (host) {
  host.replaceChildren();
  render(<App />, host);
  void begin();
}
