/**
 * Any string, as text that every database keeps exactly. SQLite ends text at NUL and PostgreSQL refuses it; both
 * replace lone surrogates. A string that holds either rests as JSON behind a mark; one that begins with the mark does
 * too, so that no two strings share a form.
 */
const mark = "\u0001";

const loneSurrogate = /\p{Surrogate}/u;

export function toText(value: string): string {
  const isSafe = !value.startsWith(mark) && !value.includes("\0") && !loneSurrogate.test(value);
  return isSafe ? value : mark + JSON.stringify(value);
}

/** How much the string takes in storage. */
export function textBytes(value: string): number {
  return Buffer.byteLength(toText(value));
}

export function fromText(text: string): string {
  return text.startsWith(mark) ? String(JSON.parse(text.slice(mark.length))) : text;
}
