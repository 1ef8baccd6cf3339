/**
 * The text of an API key: `ak_<id>_<secret>_<checksum>`. The prefix and the checksum, the first 32 bits of the SHA-256
 * of what stands before it, let scanners of source code find a key that leaked, and let a server refuse a mistyped one
 * without asking the database.
 */

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** The key that a caller presents: its id, and the digest that proves it. */
export interface PresentedKey {
  id: string;
  /** SHA-256 of the whole text, as 64 hex digits: with 256 random bits in it, a slow hash would add nothing. */
  digest: string;
}

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const idBytes = 8;
const secretBytes = 32;
const checksumBytes = 4;
/** As many digits as the largest number of these bytes has: 64, 256 and 32 bits. */
const widths = { id: 11, secret: 43, checksum: 6 };

const shape = new RegExp(
  `^(ak_([0-9A-Za-z]{${widths.id}})_[0-9A-Za-z]{${widths.secret}})_([0-9A-Za-z]{${widths.checksum}})$`,
);

/** A new key; `text` is to be shown once and kept nowhere. */
export function mintSecret(): PresentedKey & { text: string } {
  const id = written(randomBytes(idBytes), widths.id);
  const body = `ak_${id}_${written(randomBytes(secretBytes), widths.secret)}`;
  const text = `${body}_${checksumOf(body)}`;
  return { id, digest: digestOf(text), text };
}

/** Null for what cannot be a key. */
export function readSecret(text: string): PresentedKey | null {
  const [, body, id, checksum] = shape.exec(text) ?? [];
  if (body === undefined || id === undefined || checksumOf(body) !== checksum) return null;
  return { id, digest: digestOf(text) };
}

/** Takes equally long wherever two digests differ. */
export function isSameDigest(left: string, right: string): boolean {
  return timingSafeEqual(Buffer.from(left, "hex"), Buffer.from(right, "hex"));
}

function digestOf(text: string): string {
  return hash(text).toString("hex");
}

function checksumOf(body: string): string {
  return written(hash(body).subarray(0, checksumBytes), widths.checksum);
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** Bytes as a number to the base 62. */
function written(bytes: Buffer, width: number): string {
  let rest = BigInt(`0x${bytes.toString("hex")}`);
  let text = "";
  for (; rest > 0n; rest /= 62n) text = digits.charAt(Number(rest % 62n)) + text;
  return text.padStart(width, "0");
}
