import { describe, expect, it } from "vitest";
import { client } from "./client.ts";
import { parseConfig } from "./config.ts";

const server = { api: () => ({}) };

describe("the configuration of a client", () => {
  it.each([
    [undefined, "client must be an object"],
    [{}, "client.url is missing"],
    [{ url: 9090 }, "client.url must be a string"],
    [{ url: "localhost:9090" }, "must begin with http"],
    [{ url: "not a url" }, "is not a URL"],
    [{ url: "ftp://host" }, "must begin with http"],
    [{ url: "http://me:secret@host" }, "pass apiKey instead"],
    [{ url: "http://me:/secret@host" }, "client.url http:… has an @ after the host"],
    [{ url: "http://host?x=1" }, "must have no query"],
    [{ url: "http://host", apikey: "k" }, 'no field "apikey"'],
    [{ url: "http://host", apiKey: "" }, "client.apiKey must be a key"],
    [{ url: "http://host", apiKey: 5 }, "client.apiKey must be a key"],
    [{ url: "http://host", redis: { host: "r" } }, "client.redis.port is missing"],
    [{ url: "http://host", redis: { host: "r", port: 0 } }, "client.redis.port must be a number from 1 to 65535"],
    [{ url: "http://host", redis: { host: "r", port: "6379" } }, "client.redis.port must be a whole number"],
    [{ url: "http://host", redis: { host: "r", port: 1, pasword: "x" } }, 'no field "pasword"'],
    [{ url: "http://host", redis: { host: "r", port: 1, username: "u" } }, "client.redis.password must be there"],
    [{ url: "http://host", redis: { host: "r", port: 1, tls: "yes" } }, "client.redis.tls must be true or false"],
    [{ url: "http://host", redis: { host: "r", port: 1, tls: { ca: 1 } } }, "client.redis.tls.ca must be a string"],
    [{ url: "http://host", redis: { host: "r", port: 1, tls: { cA: "" } } }, 'client.redis.tls has no field "cA"'],
    [{ url: "http://host", redis: { host: "r", port: 1, cluster: true, db: 1 } }, "client.redis.db must be 0 in a"],
    [{ url: "http://host", logger: console.log }, "client.logger must be a Logger"],
    [{ url: "http://host", env: {} }, "client.env must be an Env"],
    [{ server: {} }, "client.server must be an embedded server"],
    [{ server, url: "http://host" }, "client.url must not be set together with server"],
  ])("client options %j are refused", (params, sentence) => {
    const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(sentence) };
    expect(() => parseConfig(params)).toThrow(expect.objectContaining(refusal));
  });

  it("an API key with a line end is accepted, and a refused key is not shown", () => {
    const { target } = parseConfig({ url: "http://host", apiKey: "ak_secret\n" });
    expect(target).toEqual({ url: "http://host", apiKey: "ak_secret" });
    const refused = [
      { url: "http://host", apiKey: "ak_se\ncret" },
      { url: "http://host", apiKey: `ak_secret${"x".repeat(1_000)}` },
      { server, apiKey: "ak_secret" },
    ];
    for (const params of refused) {
      expect(() => parseConfig(params)).toThrow(/client\.apiKey must/);
      expect(() => parseConfig(params)).not.toThrow(/cret/);
    }
  });

  it("the path of a URL is kept, and the configuration is frozen", () => {
    const config = parseConfig({ url: "https://host/aiki/", redis: { host: "r", port: 6379 } });
    expect(config.target).toEqual({ url: "https://host/aiki", apiKey: null });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.redis)).toBe(true);
  });

  it("client resolves although no server is running", async () => {
    const aiki = await client({ url: "http://127.0.0.1:1" });
    await aiki.close();
    await aiki.close();
  });
});
