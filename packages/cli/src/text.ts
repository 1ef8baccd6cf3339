/** Text for a terminal. */

import stringWidth from "string-width";

/** Makes control characters visible, because names and messages come from users: the terminal must not execute them. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (unit) => {
    return unit === "\n" ? " ⏎ " : unit === "\t" ? " " : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The number of columns that a terminal needs for a text. Wide characters take two. */
export function widthOf(text: string): number {
  return stringWidth(text);
}

const characters = new Intl.Segmenter();

/** Cuts a text to a maximum number of columns. The end of a text that is cut is `…`. */
export function cut(text: string, most: number): string {
  if (widthOf(text) <= most) return text;
  let kept = "";
  let width = 1;
  for (const { segment } of characters.segment(text)) {
    width += widthOf(segment);
    if (width > most) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Breaks a text between words into lines of at most `width` columns. A longer word has a line of its own. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line === undefined || widthOf(line) + 1 + widthOf(word) > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}

/** Adds spaces to a text until it takes this number of columns. */
export function padded(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)));
}

/** A duration for display: `12 ms`, `3.4 s`, `5 min`, `2.5 h`, `4 days`. */
export function spanOf(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trimmed(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${trimmed(ms / 60_000)} min`;
  if (ms < 48 * 3_600_000) return `${trimmed(ms / 3_600_000)} h`;
  return `${trimmed(ms / 86_400_000)} days`;
}

function trimmed(amount: number): string {
  return amount.toFixed(1).replace(/\.0$/, "");
}

/** `1 run`, `2,000 runs`. */
export function counted(amount: number, one: string, many = `${one}s`): string {
  return `${amountOf(amount)} ${amount === 1 ? one : many}`;
}

/** A whole number for display: `12,345`. */
export function amountOf(amount: number): string {
  return amount.toLocaleString("en");
}
