/** Who may ask what, proved of every verb over HTTP: without a good key nothing, and of another's namespace nothing. */

import { type Client, client } from "@aikirun/client";
import { type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import { scopes, type Verb, verbs } from "@aikirun/lib/protocol";
import { type CreateKey, type Server, server } from "@aikirun/server";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { opened } from "../../packages/server/test/opened.ts";
import { awaits, returned, Stage } from "./actors.ts";
import { type About, bodiesAbout } from "./bodies.ts";
import { checksummed } from "./forged.ts";

export interface AuthGround {
  database: string;
  leave(): Promise<void>;
}

interface AuthReply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** How requests reach the server. */
type RequestRoad = "mounted" | "listening";

class House {
  readonly aiki: Server;
  readonly url: string;
  readonly lines: string[];
  readonly secrets: string[] = [];

  constructor(aiki: Server, url: string, lines: string[]) {
    this.aiki = aiki;
    this.url = url;
    this.lines = lines;
  }

  async key(more: Partial<CreateKey> = {}): Promise<{ id: string; secret: string }> {
    const key = await this.aiki.keys.create({ name: "test", ...more });
    this.secrets.push(key.secret);
    return key;
  }

  async ask(
    verb: Verb,
    body: unknown,
    authorization: string | null,
    road: RequestRoad = "listening",
  ): Promise<AuthReply> {
    const url = `${this.url}/v1/${verb}`;
    const headers = { "content-type": "application/json", ...(authorization === null ? {} : { authorization }) };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const reply = road === "mounted" ? await this.aiki.fetch(new Request(url, init)) : await fetch(url, init);
    return { status: reply.status, headers: Object.fromEntries(reply.headers), body: await reply.text() };
  }

  client(apiKey: string): Promise<Client> {
    return client({ url: this.url, apiKey, logger: silentLogger });
  }
}

export function authSuite(title: string, open: () => Promise<AuthGround>): void {
  describe(title, () => {
    let house: House;
    let leave: () => Promise<void>;
    beforeAll(async () => {
      const ground = await open();
      const lines: string[] = [];
      const aiki = await server({ database: ground.database, auth: true, logger: noting(lines) });
      const { url } = await aiki.listen({ port: 0 });
      house = new House(aiki, url, lines);
      leave = async () => {
        await aiki.close();
        await ground.leave();
      };
    });
    afterAll(() => leave());
    const home = () => house;

    describe("without a good key", () => refusing(home));
    describe("with a key", () => admitting(home));
    describe("ids of another namespace", () => sweeping(home));
    describe("the log", () => logging(home));
  });
}

/** Every field of every line, as text. */
function noting(lines: string[]): Logger {
  const note = (level: string) => (message: string, fields?: LogFields) => {
    lines.push(JSON.stringify({ level, message, ...fields }));
  };
  const logger: Logger = {
    debug: note("debug"),
    info: note("info"),
    warn: note("warn"),
    error: note("error"),
    child: () => logger,
  };
  return logger;
}

function about(): About {
  return { runId: v7(), session: v7(), claimId: v7(), fence: 1 };
}

function refusing(home: () => House): void {
  const spoilt: Record<string, () => Promise<string | null>> = {
    "no key": async () => null,
    "an empty header": async () => "",
    "another scheme": async () => `Basic ${(await home().key()).secret}`,
    "a key without a scheme": async () => (await home().key()).secret,
    "no text behind the scheme": async () => "Bearer ",
    "a malformed key": async () => "Bearer ak_key_secret_sum",
    "an endless key": async () => `Bearer ${"a".repeat(5_000)}`,
    "a mistyped key": async () => `Bearer ${(await home().key()).secret.slice(0, -1)}`,
    "two keys": async () => `Bearer ${(await home().key()).secret}, Bearer ${(await home().key()).secret}`,
    "a key that was never made": async () => `Bearer ${await strangers(home())}`,
    "a wrong secret": async () => `Bearer ${await forged(home())}`,
    "an expired key": async () => `Bearer ${await expired(home())}`,
    "a revoked key": async () => `Bearer ${await revoked(home())}`,
  };

  it.each(Object.entries(spoilt))("%s: every verb answers 401, the same to the byte", async (_, make) => {
    const authorization = await make();
    const plain = await home().ask("find", {}, null);
    expect(plain.status).toBe(401);
    expect(plain.headers["www-authenticate"]).toBe("Bearer");
    for (const verb of verbs) {
      for (const road of ["listening", "mounted"] as const) {
        const answer = await home().ask(verb, bodiesAbout(about())[verb], authorization, road);
        expect([verb, road, answer.status, answer.body]).toEqual([verb, road, 401, plain.body]);
        expect(steady(answer.headers)).toEqual(steady(plain.headers));
      }
    }
  });

  it("a request is refused before its body is read", async () => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: "{".repeat(1_000_000) };
    expect((await fetch(`${home().url}/v1/find`, init)).status).toBe(401);
  });

  it("health and the front page stay open, and tell no version", async () => {
    for (const path of ["/health/live", "/health/ready", "/"]) {
      const reply = await fetch(`${home().url}${path}`);
      expect(reply.status).toBe(200);
      expect(`${await reply.text()} ${JSON.stringify([...reply.headers])}`).not.toMatch(/\d+\.\d+\.\d+|hono|node\//i);
    }
  });
}

/** What differs between two equal answers. */
function steady({
  date: _,
  connection: __,
  "keep-alive": ___,
  "content-length": ____,
  ...headers
}: AuthReply["headers"]) {
  return headers;
}

async function expired(house: House): Promise<string> {
  const { secret } = await house.key({ expiresIn: { milliseconds: 1 } });
  // By the database's clock, which may be a moment behind.
  while ((await house.ask("find", {}, `Bearer ${secret}`)).status === 200);
  return secret;
}

async function revoked(house: House): Promise<string> {
  const { id, secret } = await house.key();
  expect((await house.ask("find", {}, `Bearer ${secret}`)).status).toBe(200);
  await house.aiki.keys.revoke(id);
  return secret;
}

/** A key of another database. */
async function strangers(house: House): Promise<string> {
  const other = await server({ database: "memory:", logger: silentLogger });
  const { secret } = await other.keys.create({ name: "stranger" });
  await other.close();
  house.secrets.push(secret);
  return secret;
}

/** The id of one key with the secret of another, its checksum right. */
async function forged(house: House): Promise<string> {
  const { id } = await house.key();
  const [, , secret = ""] = (await house.key()).secret.split("_");
  return checksummed(`ak_${id}_${secret}`);
}

function admitting(home: () => House): void {
  it.each(verbs)("%s is answered to admin, and 403 without the scopes that it needs", async (verb) => {
    const body = bodiesAbout(about())[verb];
    const { secret } = await home().key({ scopes: ["admin"] });
    const others = scopes.filter((scope) => scope !== "admin" && !opened[verb].includes(scope));
    const poor = await home().key({ scopes: others });
    for (const road of ["listening", "mounted"] as const) {
      expect((await home().ask(verb, body, `Bearer ${secret}`, road)).status).toBe(200);
      const refused = await home().ask(verb, body, `bearer   ${poor.secret}`, road);
      expect([refused.status, JSON.parse(refused.body).error.code]).toEqual([403, "FORBIDDEN"]);
      for (const scope of opened[verb]) expect(refused.body).toContain(scope);
    }
  });

  it.each([
    ["watch", "runs:read", "workers:run"],
    ["watch", "workers:run", "runs:read"],
  ] as const)("%s of mixed items with %s alone is refused as a whole for want of %s", async (verb, has, lacks) => {
    const { secret } = await home().key({ scopes: ["runs:start", has] });
    const runId = v7();
    await home().ask("start", bodiesAbout({ ...about(), runId }).start, `Bearer ${secret}`);
    const refused = await home().ask(verb, bodiesAbout({ ...about(), runId })[verb], `Bearer ${secret}`);
    expect([refused.status, refused.body]).toEqual([403, expect.stringContaining(lacks)]);
    const { results } = await home()
      .aiki.api()
      .read({ runs: [{ runId, entries: { after: 0, limit: 10 } }] });
    expect(results).toMatchObject([{ ok: true, run: { status: "queued" }, entries: [] }]);
  });

  it("signals are refused one by one: what one caller may not does not fail another's", async () => {
    const { secret } = await home().key({ scopes: ["runs:start", "events:send"] });
    const aiki = await home().client(secret);
    const stage = new Stage(aiki.api);
    const id = await stage.start();
    const handle = aiki.runs.get(id);
    const asked = [handle.cancel(), handle.events.go?.send(1), handle.pause(), handle.events.go?.send(2)];
    const outcomes = (await Promise.allSettled(asked)).map((one) =>
      one.status === "rejected" ? one.reason.code : "ok",
    );
    expect(outcomes).toEqual(["FORBIDDEN", "ok", "FORBIDDEN", "ok"]);
    const inside = new Stage(home().aiki.api());
    expect((await inside.entries(id)).map(({ value }) => value.type)).toEqual(["arrived", "arrived"]);
    expect((await inside.view(id)).status).toBe("queued");
    await aiki.close();
  });

  it("the namespace is the key's, whatever the request says", async () => {
    const { secret } = await home().key({ namespace: "mine" });
    const spec = { id: v7(), name: "n", versionId: "1" };
    const named = await home().ask("start", { runs: [spec], namespace: "default" }, `Bearer ${secret}`);
    expect(named.status).toBe(400);
    await home().ask("start", { runs: [spec] }, `Bearer ${secret}`);
    const read = (namespace: string) =>
      home()
        .aiki.api(namespace)
        .read({ runs: [{ runId: spec.id }] });
    expect((await read("mine")).results).toMatchObject([{ ok: true }]);
    expect((await read("default")).results).toMatchObject([{ code: "RUN_NOT_FOUND" }]);
  });

  it("a wait under way outlives the key, and the next one is refused", async () => {
    const { id, secret } = await home().key();
    const waits = home().ask("watch", { watched: [], waitMs: 500 }, `Bearer ${secret}`);
    await expect
      .poll(async () => (await home().aiki.keys.list()).find((key) => key.id === id)?.lastUsedAt)
      .not.toBeNull();
    await home().aiki.keys.revoke(id);
    expect((await waits).status).toBe(200);
    expect((await home().ask("watch", { watched: [], waitMs: 500 }, `Bearer ${secret}`)).status).toBe(401);
  });

  it("a client and a worker see what theirs opens, and are told what it does not", async () => {
    const starts = await home().client((await home().key({ namespace: "t", scopes: ["runs:start"] })).secret);
    const reads = await home().client((await home().key({ namespace: "t", scopes: ["runs:read"] })).secret);
    const works = await home().client((await home().key({ namespace: "t", scopes: ["workers:run"] })).secret);
    const none = await home().client("ak_wrong");
    const stage = new Stage(starts.api);
    const id = await stage.start();
    const worker = new Stage(works.api).worker();
    const [run] = await worker.claim({ serves: [{ name: stage.name, versionId: "1.0.0" }] });
    expect(run?.id).toBe(id);
    if (run !== undefined) await worker.finish(run);
    expect((await reads.runs.get(id).view()).status).toBe("completed");
    await expect(works.runs.get(id).cancel()).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(works.runs.list()).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(none.runs.list()).rejects.toMatchObject({ code: "UNAUTHORIZED" });
    await Promise.all([starts, reads, works, none].map((one) => one.close()));
  });
}

function sweeping(home: () => House): void {
  /** A run of tenant B in the hands of a worker of B's, with an entry and a child. */
  async function victim(): Promise<About & { name: string; watch(): Promise<unknown> }> {
    const api = home().aiki.api("b");
    const stage = new Stage(api);
    const runId = await stage.start({ referenceId: "shared", inputHash: "h", input: '"secret of b"' });
    const worker = stage.worker();
    const claimId = v7();
    const run = await worker.claimOne({ claimId });
    const child = { id: v7(), name: `${stage.name} child`, versionId: "1.0.0" };
    const starts = [{ address: "child:c:1#0", spec: child }];
    await worker.report(run, { entries: [returned("task:t#0", '"secret of b"')], starts });
    const watch = () =>
      api.read({ runs: [runId, child.id].map((id) => ({ runId: id, entries: { after: 0, limit: 99 } })) });
    return { runId, session: worker.session, claimId, fence: run.fence, name: stage.name, watch };
  }

  it.each(verbs.filter((verb) => verb !== "start"))("are answered by %s like ids of no run", async (verb) => {
    const target = await victim();
    const before = await target.watch();
    const bearer = `Bearer ${(await home().key({ namespace: "a", scopes: ["admin"] })).secret}`;
    const unknown = about();
    const foreign = await home().ask(verb, asked(verb, target), bearer);
    const strange = await home().ask(verb, asked(verb, { ...target, ...unknown }), bearer);
    const blank = (text: string) => text.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "<id>");
    expect([foreign.status, blank(foreign.body)]).toEqual([strange.status, blank(strange.body)]);
    expect(foreign.body).not.toContain("secret of b");
    expect(await target.watch()).toEqual(before);
  });

  it("are no run to start again, and a reference of one namespace is free in another", async () => {
    const target = await victim();
    const before = await target.watch();
    const bearer = `Bearer ${(await home().key({ namespace: "a" })).secret}`;
    const spec = {
      name: target.name,
      versionId: "1.0.0",
      input: '"secret of b"',
      referenceId: "shared",
      inputHash: "h",
    };
    const taken = await home().ask("start", { runs: [{ ...spec, id: target.runId }] }, bearer);
    expect(JSON.parse(taken.body)).toMatchObject({ results: [{ ok: false, code: "RUN_ID_CONFLICT" }] });
    const id = v7();
    const free = await home().ask("start", { runs: [{ ...spec, id }] }, bearer);
    expect(JSON.parse(free.body)).toEqual({ results: [{ ok: true, id, created: true }] });
    expect(await target.watch()).toEqual(before);
  });

  it("are not listed, nor reached by a cursor, a parent, a name, a reference or a status", async () => {
    const target = await victim();
    const bearer = `Bearer ${(await home().key({ namespace: "sweeper" })).secret}`;
    const cursor = Buffer.from("9000000000000000 ffffffff-ffff-7fff-bfff-ffffffffffff").toString("base64url");
    const wishes = [
      {},
      { cursor },
      { parentId: target.runId },
      { name: target.name },
      { referenceId: "shared" },
      { status: ["running"] },
    ];
    for (const wish of wishes) {
      expect(JSON.parse((await home().ask("find", wish, bearer)).body)).toEqual({ runs: [] });
    }
  });

  it("are handed to no worker that serves the same workflow under another namespace", async () => {
    const stage = new Stage(home().aiki.api("b"));
    const runId = await stage.start();
    const bearer = `Bearer ${(await home().key({ namespace: "a" })).secret}`;
    const request = { ...bodiesAbout(about()).claim, serves: [{ name: stage.name, versionId: "1.0.0" }] };
    const claimed = await home().ask("claim", request, bearer);
    expect(JSON.parse(claimed.body).runs).toEqual([]);
    expect((await stage.view(runId)).explanation).toContain("no worker serves");
    expect((await stage.worker().claimOne()).id).toBe(runId);
  });

  it("are not reclaimed under the session that suspended them", async () => {
    const stage = new Stage(home().aiki.api("b"));
    await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.suspend(run, [awaits("go")]);
    const bearer = `Bearer ${(await home().key({ namespace: "a" })).secret}`;
    const reclaim = { serves: [], reclaim: [{ runId: run.id, fence: run.fence }], limit: 10 };
    const foreign = await home().ask("claim", worker.request(reclaim), bearer);
    expect(JSON.parse(foreign.body).runs).toEqual([]);
    expect(await worker.claim(reclaim)).toMatchObject([{ id: run.id, fence: run.fence + 1 }]);
  });

  it("as children's or retries' new ids make no run another's", async () => {
    const target = await victim();
    const before = await target.watch();
    const mine = new Stage(home().aiki.api("a"));
    await mine.start();
    const worker = mine.worker();
    const run = await worker.claimOne();
    const spec = { id: target.runId, name: target.name, versionId: "1.0.0" };
    await worker.report(run, { starts: [{ address: "child:c:1#0", spec }] });
    const entries = await mine.entries(run.id);
    expect(JSON.stringify(entries)).toContain("RUN_ID_CONFLICT");
    expect(JSON.stringify(entries)).not.toContain("secret of b");
    await mine.signal(run.id, { type: "cancel" });
    await mine.signal(run.id, { type: "retry", newRunId: target.runId });
    expect(await target.watch()).toEqual(before);
  });
}

/** A request of this verb about a run, as its rightful holder would make it. */
function asked(verb: Verb, { runId, session, claimId, fence }: About): unknown {
  const body = bodiesAbout({ runId, session, claimId, fence })[verb];
  return verb === "signal" ? JSON.parse(JSON.stringify(body)) : body;
}

function logging(home: () => House): void {
  it("names who was refused and why, who was created and revoked, and who acted upon which run", async () => {
    const { id, secret } = await home().key({ scopes: ["runs:start", "runs:control"] });
    const runId = v7();
    const asking = bodiesAbout({ ...about(), runId });
    const bearer = `Bearer ${secret}`;
    const cancel = { signals: [{ signalId: v7(), runId, signal: { type: "cancel" } }] };
    await home().ask("start", asking.start, bearer);
    await home().ask("signal", cancel, bearer);
    await home().aiki.keys.revoke(id);
    const line = (...parts: string[]) => home().lines.some((one) => parts.every((part) => one.includes(part)));
    expect(line('"API key created"', id)).toBe(true);
    expect(line('"API key revoked"', id)).toBe(true);
    expect(line('"info"', '"control signal"', '"cancel"', runId, id, '"ok"')).toBe(true);
    // Refusals are rationed, and earlier tests may have used this second's up.
    await expect
      .poll(async () => {
        await home().ask("find", {}, bearer);
        return line('"authentication failed"', '"revoked"', id);
      })
      .toBe(true);
  });

  it("holds no secret of any key, nor a digest", () => {
    const all = home().lines.join("\n");
    expect(home().secrets.length).toBeGreaterThan(10);
    for (const secret of home().secrets) expect(all).not.toContain(secret.slice(15, 58));
    expect(all).not.toMatch(/[0-9a-f]{64}/);
  });
}
