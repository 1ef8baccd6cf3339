import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseServiceUrl, redactUrl } from "./url.ts";

const rules = { field: "database", schemes: /^postgres:\/\//, example: "postgres://user:password@host:5432/name" };

describe("redactUrl", () => {
  it.each([
    ["postgres://user:secret@host:5432/db?password=secret\n", "postgres://host:5432/db"],
    ["  rediss://:secret@host/0", "rediss://host/0"],
    ["http://host", "http://host/"],
    ["postgres:/user:secret@host/db", "postgres:…"],
    ["postgres:\\\\user:secret@host\\db", "postgres:…"],
    ["postgres://user:se/cret@host/db", "postgres:…"],
    ["postgres://user:12/secret@host/db", "postgres:…"],
    ["postgres://user:12?secret@host/db", "postgres:…"],
    ["postgres://user:12#secret@host/db", "postgres:…"],
    ["user:secret@host/db", "…"],
    ["secret", "…"],
    ["", "…"],
  ])("redactUrl shows %j as %j", (text, shown) => {
    expect(redactUrl(text)).toBe(shown);
  });

  it("redactUrl shows no secret, wherever it is in the URL", () => {
    const odd = fc.constantFrom(..."/?#@:%\\ \n\t&=[]'\"1x".split(""));
    const secret = fc.string({ unit: odd, maxLength: 6 }).map((text) => `${text}hunter2${text}`);
    const scheme = fc.constantFrom("postgres", "redis", "http", "other");
    const slashes = fc.constantFrom("//", "/", "", "\\\\", "///");
    const tail = fc.constantFrom("@host/db", "@host:5432", "@[::1]/0?x=1", "@host/a b", "@", "@host\n");
    fc.assert(
      fc.property(scheme, slashes, secret, tail, (begin, between, password, end) => {
        expect(redactUrl(`${begin}:${between}user:${password}${end}`)).not.toContain("hunter2");
        expect(redactUrl(`${begin}:${between}host/db?password=${password}`)).not.toContain("hunter2");
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("parseServiceUrl", () => {
  it("parseServiceUrl removes the spaces and line breaks around a URL", () => {
    expect(parseServiceUrl(" postgres://user:pass@host/db\r\n", rules).href).toBe("postgres://user:pass@host/db");
  });

  it.each([
    ["   ", "database is empty. Write postgres://"],
    ["postgres:/user:secret@host/db", "database postgres:… begins in a form that is not accepted"],
    ["postgres://user:secret@ho\nst/db", "holds a line break"],
    ["postgres://user:sec/ret@host/db", "is no valid url; percent-encode / ? # @ : and %"],
    ["postgres://user:12/ret@host/db", "has an @ or # after the host"],
    ["postgres://user:12#ret@host/db", "has an @ or # after the host"],
    ["postgres://user:100%secret@host/db", "has a % that begins no percent-encoded character; write it as %25"],
  ])("parseServiceUrl refuses %j with the reason and without a secret", (text, sentence) => {
    const refusal = { code: "INVALID_CONFIG", ids: { field: "database" }, message: expect.stringContaining(sentence) };
    expect(() => parseServiceUrl(text, rules)).toThrow(expect.objectContaining(refusal));
    expect(() => parseServiceUrl(text, rules)).not.toThrow(/ret@|secret/);
  });
});
