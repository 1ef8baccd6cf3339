import { describe, expect, it } from "vitest";
import { parseRedisParams, parseRedisUrl } from "./params.ts";

describe("Redis URLs", () => {
  it.each([
    ["redis://h", { host: "h", port: 6379, db: 0, tls: false, cluster: false }],
    ["rediss://user:p%40ss@h:1/3", { host: "h", port: 1, username: "user", password: "p@ss", db: 3, tls: true }],
    ["redis://[::1]:7000?cluster=true", { host: "::1", port: 7000, cluster: true }],
  ])("the Redis URL %s gives host, port and options", (url, params) => {
    expect(parseRedisUrl(url)).toMatchObject({ params, prefix: "aiki" });
  });

  it("a Redis URL may have a prefix for keys", () => {
    expect(parseRedisUrl("redis://h?prefix=shop").prefix).toBe("shop");
  });

  it.each(["http://h", "redis://h/one", "redis://h/1?cluster=true", "redis://h?prefx=shop"])(
    "the Redis URL %s is refused",
    (url) => {
      expect(() => parseRedisUrl(url)).toThrow(expect.objectContaining({ code: "INVALID_CONFIG" }));
    },
  );
});

describe("Redis options", () => {
  it("the given Redis options are kept, and no others are added", () => {
    expect(parseRedisParams({ host: "h", port: 1 })).toEqual({ host: "h", port: 1 });
    const tls = { ca: "-----BEGIN", rejectUnauthorized: true };
    expect(parseRedisParams({ host: "h", port: 1, password: "p", tls })).toEqual({
      host: "h",
      port: 1,
      password: "p",
      tls,
    });
  });

  it.each([
    [{ port: 1 }, "client.redis.host"],
    [{ host: "h", port: 0 }, "client.redis.port"],
    [{ host: "h", port: 1, username: "u" }, "client.redis.password"],
    [{ host: "h", port: 1, cluster: true, db: 1 }, "client.redis.db"],
    [{ host: "h", port: 1, tls: { cs: "x" } }, 'client.redis.tls has no field "cs"'],
  ])("the Redis options %j are refused, and the error names the field", (params, words) => {
    const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(words) };
    expect(() => parseRedisParams(params)).toThrow(expect.objectContaining(refusal));
  });
});
