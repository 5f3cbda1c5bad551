// SPDX-License-Identifier: MIT
// Icons of one hand: 16 by 16, strokes of the text's colour.

const PATHS = {
  run: "M5 3.2v9.6L13 8z",
  stop: "M4 4h8v8H4z",
  watch: "M1.5 9h2.6l2-5.5 3.3 9L11.6 7l.9 2h2",
  policy: "M2.5 4.5h6M11.5 4.5h2M2.5 11.5h2M7.5 11.5h6M10 3v3M6 10v3",
  history: "M2.5 8a5.5 5.5 0 1 0 1.7-4M2.5 2.8v2.7h2.7M8 5v3.2l2.2 1.3",
  sessions: "M2.5 2.5h11v4h-11zM2.5 9.5h11v4h-11z",
  health: "M2 3.5h5v3.6H2zM9 3.5h5v3.6H9zM2 9.1h2.8v3.6H2zM6.6 9.1H14v3.6H6.6z",
  link: "M6.5 9.5l3-3M7 5l1.3-1.3a2.6 2.6 0 0 1 3.7 3.7L10.7 8.7M9 11l-1.3 1.3A2.6 2.6 0 0 1 4 8.6l1.3-1.3",
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  up: "M4 9.5L8 5.5l4 4",
  down: "M4 6.5l4 4 4-4",
  back: "M9.5 4l-4 4 4 4",
  trash: "M3 4.5h10M6.5 4.5v-1.5h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  download: "M8 2.5v7.5M4.8 7.2L8 10.3l3.2-3.1M3 13h10",
  upload: "M8 10.5V3M4.8 5.8L8 2.7l3.2 3.1M3 13h10",
  search: "M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zM10.2 10.2L13.5 13.5",
  ok: "M3.5 8.5l3 3 6-7",
  error: "M8 3.5v5.5M8 11.6v.9",
  deny: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM4.2 4.2l7.6 7.6",
  limit: "M2.5 4h11M8 13V6.5M5.3 9L8 6.3 10.7 9",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1",
  moon: "M13 9.6A5.6 5.6 0 0 1 6.4 3a5.6 5.6 0 1 0 6.6 6.6z",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  restart: "M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.8h-2.8",
  dot: "M8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6z",
} as const;

export type IconName = keyof typeof PATHS;
const SOLID = new Set<IconName>(["run", "stop", "dot"]);

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} {...(SOLID.has(name) ? { fill: "currentColor", stroke: "none" } : {})} />
    </svg>
  );
}
