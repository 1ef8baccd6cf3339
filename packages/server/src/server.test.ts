import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { parseConfig } from "./config.ts";
import { server } from "./server.ts";

const runId = "0190c0de-0000-7000-8000-000000000001";
const spec = { id: runId, name: "order", versionId: "1.0.0" };
const quiet = { database: "memory:", logger: silentLogger };

describe("server()", () => {
  it("runs in a file survive a restart of the server", async () => {
    const directory = await mkdtemp(join(tmpdir(), "aiki-"));
    const database = `sqlite:${join(directory, "runs.db")}`;
    const first = await server({ ...quiet, database });
    await first.api().start({ runs: [spec] });
    await first.close();
    const second = await server({ ...quiet, database });
    const { results } = await second.api().read({ runs: [{ runId }] });
    expect(results[0]).toMatchObject({ ok: true, run: { id: runId, status: "queued" } });
    await second.close();
    await rm(directory, { recursive: true });
  });

  it("a namespace does not see the runs of another", async () => {
    const aiki = await server(quiet);
    await aiki.api("a").start({ runs: [spec] });
    expect((await aiki.api("b").find({})).runs).toEqual([]);
    expect((await aiki.api("a").find({})).runs).toHaveLength(1);
    await aiki.close();
  });

  it("fetch, listen and api serve the same runs", async () => {
    const aiki = await server(quiet);
    await aiki.api().start({ runs: [spec] });
    const init = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
    const { url } = await aiki.listen({ port: 0 });
    const mounted = await (await aiki.fetch(new Request("http://localhost/v1/find", init))).json();
    const listened = await (await fetch(`${url}/v1/find`, init)).json();
    expect(mounted).toEqual(await aiki.api().find({}));
    expect(listened).toEqual(mounted);
    await aiki.close();
  });

  it("the in-process Api refuses the same names as HTTP, one item at a time", async () => {
    const aiki = await server(quiet);
    const { results } = await aiki.api().start({ runs: [{ ...spec, name: "a\0" }, spec] });
    expect(results).toMatchObject([{ code: "BAD_REQUEST" }, { ok: true }]);
    await aiki.close();
  });

  it("listen refuses a public address unless unauthenticated access is allowed", async () => {
    const aiki = await server(quiet);
    await expect(aiki.listen({ port: 0, host: "0.0.0.0" })).rejects.toMatchObject({ code: "INVALID_CONFIG" });
    await aiki.close();
    const open = await server({ ...quiet, dangerouslyAllowUnauthenticated: true });
    const { port } = await open.listen({ port: 0, host: "0.0.0.0" });
    expect((await fetch(`http://127.0.0.1:${port}/health/ready`)).status).toBe(200);
    await open.close();
  });

  it("a server with auth binds any address, and serves any host unless allowedHosts is set", async () => {
    const init = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
    const statusOf = async (params: object, host: string) => {
      const aiki = await server({ ...quiet, auth: true, ...params });
      const { port } = await aiki.listen({ port: 0, host: "0.0.0.0" });
      const mounted = await aiki.fetch(new Request(`http://${host}/v1/find`, init));
      const listened = await fetch(`http://127.0.0.1:${port}/v1/find`, init);
      await aiki.close();
      return [mounted.status, listened.status];
    };
    expect(await statusOf({}, "evil.example")).toEqual([401, 401]);
    expect(await statusOf({ allowedHosts: ["aiki.example.com"] }, "evil.example")).toEqual([403, 401]);
    expect(await statusOf({ allowedHosts: ["aiki.example.com"] }, "aiki.example.com")).toEqual([401, 401]);
  });

  it("a server with auth refuses pages of another origin", async () => {
    const aiki = await server({ ...quiet, auth: true });
    const { secret } = await aiki.keys.create({ name: "n" });
    const headers = { "content-type": "application/json", authorization: `Bearer ${secret}` };
    const send = (more: object) =>
      aiki.fetch(
        new Request("http://localhost/v1/find", { method: "POST", body: "{}", headers: { ...headers, ...more } }),
      );
    expect((await send({})).status).toBe(200);
    expect((await send({ origin: "https://evil.example" })).status).toBe(403);
    await aiki.close();
  });

  it("in-process callers need no key", async () => {
    const aiki = await server({ ...quiet, auth: true });
    await aiki.api("tenant").start({ runs: [spec] });
    expect((await aiki.api("tenant").find({})).runs).toHaveLength(1);
    await aiki.close();
  });

  it("close may be called twice, and later requests get 503", async () => {
    const aiki = await server(quiet);
    await Promise.all([aiki.close(), aiki.close()]);
    expect((await aiki.fetch(new Request("http://localhost/health/ready"))).status).toBe(503);
    await expect(aiki.api().start({ runs: [spec] })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("the configuration", () => {
  it.each([
    ["postgres://user:hun/ter2@db:x/aiki?password=hunter2", /is no valid url/],
    ["postgres:/user:hunter2@db/aiki", /Write postgres:\/\/user:password@host:5432\/name/],
    ["postgres:\\\\user:hunter2@db\\aiki", /Write postgres:\/\/user:password@host:5432\/name/],
    ["postgres://user:100%hunter2@db/aiki", /write it as %25/],
    ["postgres://user:hunter2@db/aiki?sslmode=allow", /unknown sslmode "allow"\. Write one of disable, prefer, /],
    ["postgres://user:hunter2@db/aiki?sslrootcert=/missing.pem", /names a file in sslrootcert that cannot be read/],
    [`postgres://user:hunter2@db/${"x".repeat(4_000)}\0`, /must be a string of 1 to 4000 characters/],
    ["hunter2", /database … is not one that Aiki knows/],
    [" \n", /database is empty/],
    ["mysql://user:hunter2@db/aiki", /sqlite:<path>, postgres:.* or memory:/],
    ["sqlite:", /names no file/],
    ["sqlite:data/", /names no file/],
    ["sqlite://", /names no file/],
    ["sqlite:data/..", /names no file/],
    ["sqlite::memory:", /Write memory:/],
    ["sqlite:file::memory:?cache=shared", /Write memory:/],
    ["sqlite:x.db?mode=memory", /Write memory:/],
    ["sqlite:file:x.db", /Write the path alone/],
    ["sqlite:file:///data/x.db", /Write the path alone/],
    ["sqlite://x.db", /sqlite:\/data\/aiki\.db/],
    ["sqlite:///data/x.db", /sqlite:\/data\/aiki\.db/],
    ["sqlite://user:hunter2@host/x.db", /sqlite:\/data\/aiki\.db/],
    ["sqlite:x.db?mode=ro", /has parameters/],
    ["sqlite:~ada/x.db", /Write the whole path/],
    ["sqlite:~", /Write the whole path/],
    ["sqlite: x.db", /begins or ends with a space/],
    ["sqlite:x\u0007.db", /control character/],
    ["aiki.db", /sqlite:<path>, postgres:.* or memory:/],
  ])("database %s is refused with the supported forms, and without the password", (database, sentence) => {
    expect(() => parseConfig({ database })).toThrow(sentence);
    expect(() => parseConfig({ database })).not.toThrow(/hun|ter2/);
  });

  it.each([
    ["sqlite:x.db", "x.db"],
    ["sqlite:./data/../x.db", "./data/../x.db"],
    ["sqlite:/data/x y.db", "/data/x y.db"],
    ["sqlite:~/data/x.db", join(homedir(), "data", "x.db")],
    ["sqlite:./~x.db", "./~x.db"],
  ])("database %s has the path %s", (database, path) => {
    expect(parseConfig({ database }).database).toEqual({ type: "sqlite", path });
  });

  it.each([
    [null, "server must be an object, not null"],
    [
      { databas: "memory:" },
      'server has no field "databas". It takes database, databaseConnections, databaseDirect, redis',
    ],
    [{ database: 5 }, "server.database must be a string"],
    [{ databaseConnections: 1 }, "server.databaseConnections must be a number from 2 to 10000"],
    [{ redis: "http://host" }, "begins in a form that is not accepted. Write redis://user:password@host:6379/0"],
    [{ redis: "redis://user:secret@host/zero" }, "redis has a path that is no number of a database"],
    [{ redis: "redis://host/1?cluster=true" }, "redis names a database, and a cluster has only 0"],
    [{ redis: "redis://host?clustr=true" }, 'redis has an unknown parameter "clustr"'],
    [
      { database: "postgres://host/a", databaseDirect: "host" },
      "databaseDirect … begins in a form that is not accepted. Write postgres://",
    ],
    [{ port: 70_000 }, "server.port must be a number from 0 to 65535"],
    [{ port: "90" }, 'server.port must be a whole number from 0 to 65535, not "90"'],
    [{ host: 5 }, "server.host must be a string"],
    [{ allowedHosts: "a" }, "server.allowedHosts must be an array"],
    [{ allowedHosts: ["http://a"] }, "Write a host name without scheme and port"],
    [{ auth: "yes" }, "server.auth must be true or false"],
    [{ auth: true, dangerouslyAllowUnauthenticated: true }, "Remove one of them"],
    [{ dangerouslyAllowUnauthenticated: "yes" }, "server.dangerouslyAllowUnauthenticated must be true or false"],
    [{ logger: {} }, "server.logger must be a Logger"],
    [{ env: {} }, "server.env must be an Env"],
    [{ settings: { leaseMs: 1 } }, 'server.settings has no field "leaseMs"'],
    [{ settings: { maxCrashes: "5" } }, "server.settings.maxCrashes must be a whole number"],
  ])("server options %j are refused", (params, sentence) => {
    const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining(sentence) };
    expect(() => parseConfig(params)).toThrow(expect.objectContaining(refusal));
  });

  it("a URL may have spaces around it, and percent-encoded characters in its password", () => {
    const config = parseConfig({
      database: " postgres://user:100%25%2F@db/aiki?sslmode=require\n",
      redis: " rediss://user:100%25%40@host/3\r\n",
    });
    expect(config.database).toMatchObject({ url: "postgres://user:100%25%2F@db/aiki?sslmode=require" });
    expect(config.redis).toMatchObject({
      params: { host: "host", username: "user", password: "100%@", db: 3, tls: true },
    });
    expect(() => parseConfig({ redis: "redis://:100%hunter2@host" })).toThrow(/redis .* write it as %25/);
    expect(() => parseConfig({ redis: "redis://:100%hunter2@host" })).not.toThrow(/hunter2/);
  });

  it("listen refuses unknown options, and a closed server", async () => {
    const aiki = await server(quiet);
    const options = { port: 0, prot: 9090 };
    await expect(aiki.listen(options)).rejects.toMatchObject({ code: "INVALID_CONFIG", ids: { field: "prot" } });
    await aiki.close();
    await expect(aiki.listen()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
