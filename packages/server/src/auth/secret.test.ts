import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isSameDigest, mintSecret, readSecret } from "./secret.ts";

const scannable = /^ak_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/;

describe("new keys", () => {
  it("a new key has the form that secret scanners look for, and no two keys are the same", () => {
    const texts = Array.from({ length: 1_000 }, () => mintSecret().text);
    for (const text of texts) expect(text).toMatch(scannable);
    expect(new Set(texts.map((text) => text.slice(0, 14))).size).toBe(1_000);
    expect(new Set(texts.map((text) => text.slice(15, 58))).size).toBe(1_000);
  });

  it("a key has 256 random bits: every bit of the secret is set about half of the time", () => {
    const count = 2_000;
    const counts = new Array<number>(256).fill(0);
    for (let n = 0; n < count; n++) {
      const secret = numberOf(mintSecret().text.split("_")[2] ?? "");
      for (let bit = 0; bit < 256; bit++) counts[bit] = (counts[bit] ?? 0) + Number((secret >> BigInt(bit)) & 1n);
    }
    // Seven standard deviations of a fair coin toss.
    for (const set of counts) expect(Math.abs(set - count / 2)).toBeLessThan(3.5 * Math.sqrt(count));
  });

  it("a key is parsed into its id and the SHA-256 of its text", () => {
    const { id, digest, text } = mintSecret();
    expect(readSecret(text)).toEqual({ id, digest });
    expect(digest).toBe(createHash("sha256").update(text).digest("hex"));
    expect(text.split("_")[1]).toBe(id);
  });
});

function numberOf(secret: string): bigint {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return [...secret].reduce((sum, digit) => sum * 62n + BigInt(digits.indexOf(digit)), 0n);
}

describe("invalid keys", () => {
  it("a key with one character changed, lost or added is refused without a lookup", () => {
    const { text } = mintSecret();
    for (let at = 0; at < text.length; at++) {
      const other = text.charAt(at) === "x" ? "y" : "x";
      expect(readSecret(text.slice(0, at) + other + text.slice(at + 1))).toBeNull();
      expect(readSecret(text.slice(0, at) + text.slice(at + 1))).toBeNull();
      expect(readSecret(text.slice(0, at) + other + text.slice(at))).toBeNull();
    }
  });

  it.each(["", "ak_", "ak___", "sk_live_1", "Bearer", "\0", "ak_".repeat(100)])(
    "the text %j is refused as a key",
    (text) => {
      expect(readSecret(text)).toBeNull();
    },
  );
});

it("digests are equal only if all their bytes are equal", () => {
  const { digest } = mintSecret();
  expect(isSameDigest(digest, digest)).toBe(true);
  for (const at of [0, 31, 63]) {
    const other = digest.charAt(at) === "0" ? "1" : "0";
    expect(isSameDigest(digest, digest.slice(0, at) + other + digest.slice(at + 1))).toBe(false);
  }
});
