import { describe, expect, it } from "vitest";
import { parseRedisParams, parseRedisUrl } from "./params.ts";

describe("the url of a Redis", () => {
  it.each([
    ["redis://h", { host: "h", port: 6379, db: 0, tls: false, cluster: false }],
    ["rediss://user:p%40ss@h:1/3", { host: "h", port: 1, username: "user", password: "p@ss", db: 3, tls: true }],
    ["redis://[::1]:7000?cluster=true", { host: "::1", port: 7000, cluster: true }],
  ])("%s says where it is", (url, params) => {
    expect(parseRedisUrl(url)).toMatchObject({ params, prefix: "aiki" });
  });

  it("may say what keys begin with", () => {
    expect(parseRedisUrl("redis://h?prefix=shop").prefix).toBe("shop");
  });

  it.each(["http://h", "redis://h/one", "redis://h/1?cluster=true", "redis://h?prefx=shop"])("%s is refused", (url) => {
    expect(() => parseRedisUrl(url)).toThrow(expect.objectContaining({ code: "INVALID_CONFIG" }));
  });
});

describe("the parameters of a Redis", () => {
  it("keep what is given and leave out the rest", () => {
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
  ])("%j are refused, and the field is named", (params, words) => {
    const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(words) };
    expect(() => parseRedisParams(params)).toThrow(expect.objectContaining(refusal));
  });
});
