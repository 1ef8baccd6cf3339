/**
 * Encodes any string as text that every database stores as it is. SQLite ends text at NUL, PostgreSQL rejects it; both
 * replace lone surrogates. A string with either is stored as JSON after a mark. So is a string that begins with the
 * mark, so that no two strings have the same encoding.
 */
const mark = "\u0001";

const loneSurrogate = /\p{Surrogate}/u;

export function toText(value: string): string {
  const isSafe = !value.startsWith(mark) && !value.includes("\0") && !loneSurrogate.test(value);
  return isSafe ? value : mark + JSON.stringify(value);
}

/** The size of the string in storage. Bytes. */
export function textBytes(value: string): number {
  return Buffer.byteLength(toText(value));
}

export function fromText(text: string): string {
  return text.startsWith(mark) ? String(JSON.parse(text.slice(mark.length))) : text;
}
