// SPDX-License-Identifier: MIT
// A program's output on the page. Only text nodes and spans with classes of ours are ever made; colours (SGR) are
// followed, every other escape is dropped. Bounded: head and tail are kept, the number of spans is limited, so that no
// output makes the page slow.

const HEAD_CHARS = 256 * 1024;
const TAIL_CHARS = 256 * 1024;
const PIECE_CHARS = 4096;
const SPANS_MAX = 6000;
// A block of its own is laid out by itself, and not at all while it is out of sight: a line of megabytes would otherwise
// be laid out anew with each frame.
const BLOCK_CHARS = 4096;
const BLOCK_CHARS_MAX = 8192;
const BLOCK_SPANS_MAX = 300;
const ESCAPE_MAX = 128;

type Stream = "stdout" | "stderr";

interface Style {
  fg: string | null;
  bg: string | null;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  inverse: boolean;
}

const plain = (): Style => ({ fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false });

/** "3" is a class of the 16 colours, "#rrggbb" a colour of its own. */
function colour256(n: number): string | null {
  if (!(n >= 0 && n <= 255)) return null;
  if (n < 16) return String(n);
  const hex = (v: number): string => v.toString(16).padStart(2, "0");
  if (n >= 232) return `#${hex(8 + (n - 232) * 10).repeat(3)}`;
  const at = (v: number): string => hex(v === 0 ? 0 : 55 + v * 40);
  const c = n - 16;
  return `#${at(Math.floor(c / 36))}${at(Math.floor(c / 6) % 6)}${at(c % 6)}`;
}

function sgr(style: Style, text: string): void {
  const codes = text === "" ? [0] : text.split(/[;:]/).slice(0, 32).map((x) => Number(x));
  for (let i = 0; i < codes.length; i++) {
    const c = codes[i] ?? 0;
    if (c === 0) Object.assign(style, plain());
    else if (c === 1) style.bold = true;
    else if (c === 2) style.dim = true;
    else if (c === 3) style.italic = true;
    else if (c === 4) style.underline = true;
    else if (c === 7) style.inverse = true;
    else if (c === 22) style.bold = style.dim = false;
    else if (c === 23) style.italic = false;
    else if (c === 24) style.underline = false;
    else if (c === 27) style.inverse = false;
    else if (c >= 30 && c <= 37) style.fg = String(c - 30);
    else if (c >= 40 && c <= 47) style.bg = String(c - 40);
    else if (c >= 90 && c <= 97) style.fg = String(c - 82);
    else if (c >= 100 && c <= 107) style.bg = String(c - 92);
    else if (c === 39) style.fg = null;
    else if (c === 49) style.bg = null;
    else if (c === 38 || c === 48) {
      let colour: string | null = null;
      if (codes[i + 1] === 5) {
        colour = colour256(codes[i + 2] ?? -1);
        i += 2;
      } else if (codes[i + 1] === 2) {
        const part = [codes[i + 2], codes[i + 3], codes[i + 4]].map((v) => Math.max(0, Math.min(255, Math.round(v || 0))));
        colour = `#${part.map((v) => v.toString(16).padStart(2, "0")).join("")}`;
        i += 4;
      }
      if (c === 38) style.fg = colour;
      else style.bg = colour;
    }
  }
}

const SPECIAL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;

interface Piece {
  node: HTMLSpanElement;
  text: Text;
  key: string;
  chars: number;
  endsLine: boolean;
}

interface Block {
  node: HTMLDivElement;
  pieces: Piece[];
  chars: number;
}

export class Term {
  readonly element: HTMLPreElement;
  private blocks: Block[] = [];
  private headBlocks = 0;
  private headChars = 0;
  private tailChars = 0;
  private omitted = 0;
  private gap: HTMLDivElement | null = null;
  private style: Record<Stream, Style> = { stdout: plain(), stderr: plain() };
  private escape: Record<Stream, string> = { stdout: "", stderr: "" };
  private returned: Record<Stream, boolean> = { stdout: false, stderr: false };
  private spans = 0;
  private queue: { stream: Stream; text: string }[] = [];
  private queued = 0;
  private scheduled = false;

  constructor(private readonly omittedText: (n: number) => string) {
    this.element = document.createElement("pre");
    this.element.className = "term";
    this.element.tabIndex = 0;
  }

  /** Text is drawn with the next frame, so that a flood costs one layout a frame. */
  write(stream: Stream, text: string): void {
    if (!text) return;
    this.queue.push({ stream, text });
    this.queued += text.length;
    // A flood in a tab that is not drawn must not wait for a frame that does not come.
    if (this.queued > 4 * 1024 * 1024) this.flush();
    else if (!this.scheduled) {
      this.scheduled = true;
      const later = document.hidden ? (f: () => void) => setTimeout(f, 100) : requestAnimationFrame;
      later(() => this.flush());
    }
  }

  flush(): void {
    this.scheduled = false;
    const stick = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < 24;
    const queue = this.queue;
    this.queue = [];
    this.queued = 0;
    for (const { stream, text } of queue) this.parse(stream, text);
    if (stick) this.element.scrollTop = this.element.scrollHeight;
  }

  private parse(stream: Stream, added: string): void {
    let text = this.escape[stream] + added;
    this.escape[stream] = "";
    while (text) {
      const at = text.search(SPECIAL);
      if (at < 0) {
        this.put(stream, text);
        return;
      }
      if (at > 0) this.put(stream, text.slice(0, at));
      text = text.slice(at);
      const c = text[0];
      if (c === "\x1b") {
        const used = this.sequence(stream, text);
        if (used === 0) {
          this.escape[stream] = text;
          return;
        }
        text = text.slice(used);
      } else {
        if (c === "\r") this.returned[stream] = true;
        text = text.slice(1);
      }
    }
  }

  /** How many characters the escape at the beginning has; 0: more has to come. */
  private sequence(stream: Stream, text: string): number {
    if (text.length === 1) return 0;
    if (text[1] === "[") {
      const m = /^\x1b\[([0-?]*)[ -/]*([@-~])/.exec(text.slice(0, ESCAPE_MAX));
      if (m) {
        if (m[2] === "m") sgr(this.style[stream], m[1] ?? "");
        else if (m[2] === "K") this.returned[stream] = this.returned[stream] || m[1] === "2" || m[1] === "1";
        return m[0].length;
      }
      return text.length < ESCAPE_MAX && /^\x1b\[[ -?]*$/.test(text) ? 0 : 2;
    }
    if (text[1] === "]" || text[1] === "P" || text[1] === "_" || text[1] === "^") {
      const end = text.slice(0, 4096).search(/\x07|\x1b\\/);
      if (end > 0) return end + (text[end] === "\x07" ? 1 : 2);
      return text.length < 4096 ? 0 : 2;
    }
    return 2;
  }

  private put(stream: Stream, text: string): void {
    if (this.returned[stream]) {
      this.returned[stream] = false;
      if (!text.startsWith("\n")) this.eraseLine();
    }
    for (let at = 0; at < text.length; ) {
      let end = Math.min(text.length, at + PIECE_CHARS);
      const line = text.indexOf("\n", at);
      // A piece ends with a line if that is not far, so that a return can take back a line.
      const last = text.lastIndexOf("\n", end - 1);
      if (line >= at && last >= at) end = last + 1;
      this.add(stream, text.slice(at, end));
      at = end;
    }
  }

  private last(): { block: Block; piece: Piece } | null {
    const block = this.blocks[this.blocks.length - 1];
    const piece = block?.pieces[block.pieces.length - 1];
    return block && piece ? { block, piece } : null;
  }

  private count(index: number, chars: number): void {
    if (index < this.headBlocks) this.headChars += chars;
    else this.tailChars += chars;
  }

  private eraseLine(): void {
    for (let at = this.last(); at && !at.piece.endsLine; at = this.last()) {
      const index = this.blocks.length - 1;
      if (this.omitted > 0 && index < this.headBlocks) return;
      // A span goes on over lines: those before this one stay.
      const keep = at.piece.text.data.lastIndexOf("\n") + 1;
      const gone = at.piece.chars - keep;
      at.block.chars -= gone;
      this.count(index, -gone);
      if (keep > 0) {
        at.piece.text.deleteData(keep, gone);
        at.piece.chars = keep;
        at.piece.endsLine = true;
        return;
      }
      at.piece.node.remove();
      at.block.pieces.pop();
      this.spans--;
      if (at.block.pieces.length === 0) this.drop(index);
    }
  }

  private drop(index: number): void {
    const block = this.blocks[index];
    if (!block) return;
    block.node.remove();
    this.count(index, -block.chars);
    this.spans -= block.pieces.length;
    this.blocks.splice(index, 1);
    if (index < this.headBlocks) this.headBlocks--;
  }

  private block(): Block {
    const at = this.last();
    const full =
      !at ||
      (at.block.chars >= BLOCK_CHARS && at.piece.endsLine) ||
      at.block.chars >= BLOCK_CHARS_MAX ||
      at.block.pieces.length >= BLOCK_SPANS_MAX;
    if (!full) return at.block;
    const block = { node: document.createElement("div"), pieces: [], chars: 0 };
    this.element.append(block.node);
    this.blocks.push(block);
    if (this.omitted === 0 && this.headChars < HEAD_CHARS && this.spans < SPANS_MAX / 2) this.headBlocks++;
    return block;
  }

  private add(stream: Stream, text: string): void {
    const style = this.style[stream];
    const key = this.key(stream, style);
    const block = this.block();
    const before = block.pieces[block.pieces.length - 1];
    let piece = before;
    if (before && before.key === key) before.text.appendData(text);
    else {
      const node = document.createElement("span");
      this.dress(node, stream, style);
      const inner = document.createTextNode(text);
      node.append(inner);
      block.node.append(node);
      piece = { node, text: inner, key, chars: 0, endsLine: false };
      block.pieces.push(piece);
      this.spans++;
    }
    if (!piece) return;
    piece.chars += text.length;
    piece.endsLine = text.endsWith("\n");
    block.chars += text.length;
    this.count(this.blocks.length - 1, text.length);
    this.trim();
  }

  private trim(): void {
    let cut = false;
    while (this.blocks.length > this.headBlocks + 1 && (this.tailChars > TAIL_CHARS || this.spans > SPANS_MAX)) {
      this.omitted += this.blocks[this.headBlocks]?.chars ?? 0;
      this.drop(this.headBlocks);
      cut = true;
    }
    if (!cut) return;
    if (!this.gap) {
      this.gap = document.createElement("div");
      this.gap.className = "gap";
      this.element.insertBefore(this.gap, this.blocks[this.headBlocks]?.node ?? null);
    }
    this.gap.textContent = this.omittedText(this.omitted);
  }

  private key(stream: Stream, s: Style): string {
    if (!s.fg && !s.bg && !s.bold && !s.dim && !s.italic && !s.underline && !s.inverse) return stream;
    return `${stream} ${s.fg ?? ""}/${s.bg ?? ""} ${Number(s.bold)}${Number(s.dim)}${Number(s.italic)}${Number(s.underline)}${Number(s.inverse)}`;
  }

  private dress(node: HTMLSpanElement, stream: Stream, s: Style): void {
    const classes: string[] = [stream === "stderr" ? "stderr" : "stdout"];
    const fg = s.inverse ? (s.bg ?? "bg") : s.fg;
    const bg = s.inverse ? (s.fg ?? "fg") : s.bg;
    if (fg?.startsWith("#")) node.style.color = fg;
    else if (fg) classes.push(`f${fg}`);
    if (bg?.startsWith("#")) node.style.backgroundColor = bg;
    else if (bg) classes.push(`b${bg}`);
    if (s.bold) classes.push("bold");
    if (s.dim) classes.push("dim");
    if (s.italic) classes.push("italic");
    if (s.underline) classes.push("underline");
    node.className = classes.join(" ");
  }
}
