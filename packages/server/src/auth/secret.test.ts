import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isSameDigest, mintSecret, readSecret } from "./secret.ts";

const scannable = /^ak_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/;

describe("a minted key", () => {
  it("has the shape that secret scanners look for, and never the same text twice", () => {
    const texts = Array.from({ length: 1_000 }, () => mintSecret().text);
    for (const text of texts) expect(text).toMatch(scannable);
    expect(new Set(texts.map((text) => text.slice(0, 14))).size).toBe(1_000);
    expect(new Set(texts.map((text) => text.slice(15, 58))).size).toBe(1_000);
  });

  it("holds 256 random bits: every bit of the secret is set about half of the time", () => {
    const count = 2_000;
    const counts = new Array<number>(256).fill(0);
    for (let n = 0; n < count; n++) {
      const secret = numberOf(mintSecret().text.split("_")[2] ?? "");
      for (let bit = 0; bit < 256; bit++) counts[bit] = (counts[bit] ?? 0) + Number((secret >> BigInt(bit)) & 1n);
    }
    // Seven standard deviations of a fair coin.
    for (const set of counts) expect(Math.abs(set - count / 2)).toBeLessThan(3.5 * Math.sqrt(count));
  });

  it("is read back as its id and the SHA-256 of its text", () => {
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

describe("what is no key", () => {
  it("is refused without a lookup: any one character changed, lost or added", () => {
    const { text } = mintSecret();
    for (let at = 0; at < text.length; at++) {
      const other = text.charAt(at) === "x" ? "y" : "x";
      expect(readSecret(text.slice(0, at) + other + text.slice(at + 1))).toBeNull();
      expect(readSecret(text.slice(0, at) + text.slice(at + 1))).toBeNull();
      expect(readSecret(text.slice(0, at) + other + text.slice(at))).toBeNull();
    }
  });

  it.each(["", "ak_", "ak___", "sk_live_1", "Bearer", "\0", "ak_".repeat(100)])("%j is refused", (text) => {
    expect(readSecret(text)).toBeNull();
  });
});

it("digests are the same only when all of them is", () => {
  const { digest } = mintSecret();
  expect(isSameDigest(digest, digest)).toBe(true);
  for (const at of [0, 31, 63]) {
    const other = digest.charAt(at) === "0" ? "1" : "0";
    expect(isSameDigest(digest, digest.slice(0, at) + other + digest.slice(at + 1))).toBe(false);
  }
});
