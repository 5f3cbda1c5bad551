// SPDX-License-Identifier: MIT
// CodeMirror in a shadow root: there its styles are constructed sheets, which a strict Content-Security-Policy allows.
import { autocompletion, closeBrackets, closeCompletion, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { globalCompletion, localCompletionSource, python } from "@codemirror/lang-python";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers, type DecorationSet } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "preact/hooks";

const mark = StateEffect.define<number | null>();

const marked = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(value, tr) {
    value = tr.docChanged ? Decoration.none : value;
    for (const e of tr.effects)
      if (e.is(mark)) {
        const n = e.value;
        value =
          n !== null && n >= 1 && n <= tr.state.doc.lines
            ? Decoration.set([Decoration.line({ class: "cm-error-line" }).range(tr.state.doc.line(n).from)])
            : Decoration.none;
      }
    return value;
  },
  provide: (f) => EditorView.decorations.from(f),
});

const highlight = HighlightStyle.define([
  { tag: [tags.keyword, tags.controlKeyword, tags.operatorKeyword, tags.moduleKeyword, tags.definitionKeyword], color: "var(--s-keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--s-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--s-number)" },
  { tag: [tags.comment], color: "var(--s-comment)", fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName))], color: "var(--s-function)" },
  { tag: [tags.className, tags.definition(tags.className)], color: "var(--s-class)" },
  { tag: [tags.self, tags.standard(tags.variableName)], color: "var(--s-builtin)" },
  { tag: [tags.meta], color: "var(--s-class)" },
]);

const look = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "transparent", fontSize: "13.5px", height: "100%" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", overflow: "auto" },
  ".cm-content": { padding: "12px 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 16px 0 10px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--faint)", border: "none", paddingLeft: "6px" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "28px", padding: "0 6px 0 4px" },
  ".cm-activeLine": { backgroundColor: "var(--active-line)" },
  ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--text)" },
  "&.cm-focused .cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selection)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selection)", outline: "none" },
  ".cm-error-line": { backgroundColor: "var(--bad-soft)", boxShadow: "inset 3px 0 0 var(--bad)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", border: "1px solid var(--line)", borderRadius: "8px", boxShadow: "var(--shadow)", overflow: "hidden" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12.5px", maxHeight: "15em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 10px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent-soft)", color: "var(--text)" },
});

// A cell in a notebook is as tall as its text.
const growing = EditorView.theme({ "&": { height: "auto" }, ".cm-content": { padding: "8px 0" } });

export interface Completion {
  matches: string[];
  start: number;
  end: number;
}

export interface EditorHandle {
  focus(): void;
  goTo(line: number): void;
}

export interface EditorProps {
  /** Read when the editor is made and when `revision` changes. */
  value: string;
  revision?: number;
  label: string;
  onChange(value: string): void;
  /** "stay": Ctrl+Enter; "next": Shift+Enter. */
  onRun(how: "stay" | "next"): void;
  errorLine?: number | null;
  complete?: (code: string, cursor: number) => Promise<Completion | null>;
  grow?: boolean;
  readOnly?: boolean;
  handle?: (h: EditorHandle | null) => void;
}

function sessionSource(ask: NonNullable<EditorProps["complete"]>) {
  return async (context: CompletionContext): Promise<CompletionResult | null> => {
    const before = context.matchBefore(/[\w.]+/);
    if (!before && !context.explicit) return null;
    const answer = await ask(context.state.doc.toString(), context.pos);
    if (!answer || answer.start < 0 || answer.end > context.state.doc.length || answer.start > answer.end) return null;
    return {
      from: answer.start,
      to: answer.end,
      options: answer.matches.slice(0, 500).map((label) => ({ label })),
      validFor: /^\w*$/,
    };
  };
}

export function Editor(props: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  latest.current = props;
  useEffect(() => {
    const element = host.current;
    if (!element) return undefined;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const run = (how: "stay" | "next") => (v: EditorView): boolean => {
      closeCompletion(v);
      latest.current.onRun(how);
      return true;
    };
    const source = async (context: CompletionContext): Promise<CompletionResult | null> => {
      if (!context.view?.hasFocus) return null;
      const ask = latest.current.complete;
      const own = ask ? await sessionSource(ask)(context) : null;
      if (!context.view.hasFocus || context.aborted) return null;
      return own && own.options.length ? own : (localCompletionSource(context) ?? (await globalCompletion(context)));
    };
    const editor = new EditorView({
      parent: root,
      root,
      state: EditorState.create({
        doc: props.value,
        extensions: [
          keymap.of([
            { key: "Ctrl-Enter", mac: "Cmd-Enter", run: run("stay"), preventDefault: true },
            { key: "Shift-Enter", run: (v) => (latest.current.grow ? run("next")(v) : (v.dispatch(v.state.replaceSelection("\n")), true)) },
          ]),
          lineNumbers(),
          highlightSpecialChars(),
          history(),
          drawSelection(),
          indentOnInput(),
          indentUnit.of("    "),
          EditorState.tabSize.of(4),
          bracketMatching(),
          closeBrackets(),
          python(),
          autocompletion({ override: [source], icons: false }),
          highlightActiveLine(),
          highlightActiveLineGutter(),
          syntaxHighlighting(highlight),
          marked,
          look,
          ...(props.grow ? [growing] : []),
          ...(props.readOnly ? [EditorState.readOnly.of(true)] : []),
          EditorView.contentAttributes.of({ "aria-label": props.label, autocapitalize: "off", autocorrect: "off", spellcheck: "false" }),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, indentWithTab]),
          EditorView.updateListener.of((u) => {
            if (u.docChanged) latest.current.onChange(u.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    props.handle?.({
      focus: () => editor.focus(),
      goTo: (n) => {
        if (n < 1 || n > editor.state.doc.lines) return;
        const line = editor.state.doc.line(n);
        editor.dispatch({ selection: { anchor: line.from }, effects: EditorView.scrollIntoView(line.from, { y: "center" }) });
        editor.focus();
      },
    });
    return () => {
      props.handle?.(null);
      editor.destroy();
      view.current = null;
    };
  }, []);

  // Only what came from elsewhere is put into it: an effect runs late, and would take back what was typed meanwhile.
  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== props.value)
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: props.value } });
  }, [props.revision]);

  useEffect(() => {
    view.current?.dispatch({ effects: mark.of(props.errorLine ?? null) });
  }, [props.errorLine, props.revision]);

  return <div class={props.grow ? "editor grow" : "editor"} ref={host} data-testid="editor" />;
}
