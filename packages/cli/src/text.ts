/** Text for a terminal. */

/** Makes control characters visible, because names and messages come from users: the terminal must not execute them. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (unit) => {
    return unit === "\n" ? " ⏎ " : unit === "\t" ? " " : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Cuts a text to a maximum number of characters. */
export function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1))}…`;
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

/** `1 run`, `2 runs`. */
export function counted(amount: number, one: string, many = `${one}s`): string {
  return `${amount} ${amount === 1 ? one : many}`;
}
