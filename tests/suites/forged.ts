import { createHash } from "node:crypto";

/** A key with a valid checksum. */
export function checksummed(body: string): string {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  let text = "";
  let rest = createHash("sha256").update(body).digest().readUInt32BE(0);
  for (; rest > 0; rest = Math.floor(rest / 62)) text = digits.charAt(rest % 62) + text;
  return `${body}_${text.padStart(6, "0")}`;
}
