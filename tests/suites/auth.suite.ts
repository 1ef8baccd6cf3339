/** Authorization of every verb over HTTP: nothing is permitted without a valid key, or in another namespace. */

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

export interface AuthDatabase {
  database: string;
  leave(): Promise<void>;
}

interface AuthReply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** How a request reaches the server. */
type AuthTransport = "mounted" | "listening";

class AuthFixture {
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
    transport: AuthTransport = "listening",
  ): Promise<AuthReply> {
    const url = `${this.url}/v1/${verb}`;
    const headers = { "content-type": "application/json", ...(authorization === null ? {} : { authorization }) };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const reply = transport === "mounted" ? await this.aiki.fetch(new Request(url, init)) : await fetch(url, init);
    return { status: reply.status, headers: Object.fromEntries(reply.headers), body: await reply.text() };
  }

  client(apiKey: string): Promise<Client> {
    return client({ url: this.url, apiKey, logger: silentLogger });
  }
}

export function authSuite(title: string, open: () => Promise<AuthDatabase>): void {
  describe(title, () => {
    let fixture: AuthFixture;
    let leave: () => Promise<void>;
    beforeAll(async () => {
      const opened = await open();
      const lines: string[] = [];
      const aiki = await server({ database: opened.database, auth: true, logger: recordingLogger(lines) });
      const { url } = await aiki.listen({ port: 0 });
      fixture = new AuthFixture(aiki, url, lines);
      leave = async () => {
        await aiki.close();
        await opened.leave();
      };
    });
    afterAll(() => leave());
    const getFixture = () => fixture;

    describe("without a valid key", () => refusedKeys(getFixture));
    describe("with a key", () => acceptedKeys(getFixture));
    describe("ids of another namespace", () => otherNamespaces(getFixture));
    describe("the log", () => logLines(getFixture));
  });
}

/** All fields of all log lines, as text. */
function recordingLogger(lines: string[]): Logger {
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

function refusedKeys(getFixture: () => AuthFixture): void {
  const spoilt: Record<string, () => Promise<string | null>> = {
    "no key": async () => null,
    "an empty header": async () => "",
    "another scheme": async () => `Basic ${(await getFixture().key()).secret}`,
    "a key without a scheme": async () => (await getFixture().key()).secret,
    "no text behind the scheme": async () => "Bearer ",
    "a malformed key": async () => "Bearer ak_key_secret_sum",
    "an endless key": async () => `Bearer ${"a".repeat(5_000)}`,
    "a mistyped key": async () => `Bearer ${(await getFixture().key()).secret.slice(0, -1)}`,
    "two keys": async () => `Bearer ${(await getFixture().key()).secret}, Bearer ${(await getFixture().key()).secret}`,
    "a key that was never made": async () => `Bearer ${await keyOfOtherDatabase(getFixture())}`,
    "a wrong secret": async () => `Bearer ${await forged(getFixture())}`,
    "an expired key": async () => `Bearer ${await expired(getFixture())}`,
    "a revoked key": async () => `Bearer ${await revoked(getFixture())}`,
  };

  it.each(Object.entries(spoilt))("every verb replies 401 with the same bytes to %s", async (_, make) => {
    const authorization = await make();
    const plain = await getFixture().ask("find", {}, null);
    expect(plain.status).toBe(401);
    expect(plain.headers["www-authenticate"]).toBe("Bearer");
    for (const verb of verbs) {
      for (const transport of ["listening", "mounted"] as const) {
        const answer = await getFixture().ask(verb, bodiesAbout(about())[verb], authorization, transport);
        expect([verb, transport, answer.status, answer.body]).toEqual([verb, transport, 401, plain.body]);
        expect(steady(answer.headers)).toEqual(steady(plain.headers));
      }
    }
  });

  it("an unauthorized request is refused before its body is read", async () => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: "{".repeat(1_000_000) };
    expect((await fetch(`${getFixture().url}/v1/find`, init)).status).toBe(401);
  });

  it("health and the front page need no key, and show no version", async () => {
    for (const path of ["/health/live", "/health/ready", "/"]) {
      const reply = await fetch(`${getFixture().url}${path}`);
      expect(reply.status).toBe(200);
      expect(`${await reply.text()} ${JSON.stringify([...reply.headers])}`).not.toMatch(/\d+\.\d+\.\d+|hono|node\//i);
    }
  });
}

/** The headers that differ between equal replies. */
function steady({
  date: _,
  connection: __,
  "keep-alive": ___,
  "content-length": ____,
  ...headers
}: AuthReply["headers"]) {
  return headers;
}

async function expired(fixture: AuthFixture): Promise<string> {
  const { secret } = await fixture.key({ expiresIn: { milliseconds: 1 } });
  // The key expires by the clock of the database, which may be slightly behind.
  while ((await fixture.ask("find", {}, `Bearer ${secret}`)).status === 200);
  return secret;
}

async function revoked(fixture: AuthFixture): Promise<string> {
  const { id, secret } = await fixture.key();
  expect((await fixture.ask("find", {}, `Bearer ${secret}`)).status).toBe(200);
  await fixture.aiki.keys.revoke(id);
  return secret;
}

/** A key of another database. */
async function keyOfOtherDatabase(fixture: AuthFixture): Promise<string> {
  const other = await server({ database: "memory:", logger: silentLogger });
  const { secret } = await other.keys.create({ name: "stranger" });
  await other.close();
  fixture.secrets.push(secret);
  return secret;
}

/** A key with the id of one key, the secret of another, and a valid checksum. */
async function forged(fixture: AuthFixture): Promise<string> {
  const { id } = await fixture.key();
  const [, , secret = ""] = (await fixture.key()).secret.split("_");
  return checksummed(`ak_${id}_${secret}`);
}

function acceptedKeys(getFixture: () => AuthFixture): void {
  it.each(verbs)("%s is permitted with the scope admin, and refused with 403 without its own scopes", async (verb) => {
    const body = bodiesAbout(about())[verb];
    const { secret } = await getFixture().key({ scopes: ["admin"] });
    const others = scopes.filter((scope) => scope !== "admin" && !opened[verb].includes(scope));
    const limited = await getFixture().key({ scopes: others });
    for (const transport of ["listening", "mounted"] as const) {
      expect((await getFixture().ask(verb, body, `Bearer ${secret}`, transport)).status).toBe(200);
      const refused = await getFixture().ask(verb, body, `bearer   ${limited.secret}`, transport);
      expect([refused.status, JSON.parse(refused.body).error.code]).toEqual([403, "FORBIDDEN"]);
      for (const scope of opened[verb]) expect(refused.body).toContain(scope);
    }
  });

  it.each([
    ["watch", "runs:read", "workers:run"],
    ["watch", "workers:run", "runs:read"],
  ] as const)(
    "%s of mixed items with only the scope %s is refused as a whole, because %s is missing",
    async (verb, has, lacks) => {
      const { secret } = await getFixture().key({ scopes: ["runs:start", has] });
      const runId = v7();
      await getFixture().ask("start", bodiesAbout({ ...about(), runId }).start, `Bearer ${secret}`);
      const refused = await getFixture().ask(verb, bodiesAbout({ ...about(), runId })[verb], `Bearer ${secret}`);
      expect([refused.status, refused.body]).toEqual([403, expect.stringContaining(lacks)]);
      const { results } = await getFixture()
        .aiki.api()
        .read({ runs: [{ runId, entries: { after: 0, limit: 10 } }] });
      expect(results).toMatchObject([{ ok: true, run: { status: "queued" }, entries: [] }]);
    },
  );

  it("signals of several callers are refused individually", async () => {
    const { secret } = await getFixture().key({ scopes: ["runs:start", "events:send"] });
    const aiki = await getFixture().client(secret);
    const stage = new Stage(aiki.api);
    const id = await stage.start();
    const handle = aiki.runs.get(id);
    const requestFor = [handle.cancel(), handle.events.go?.send(1), handle.pause(), handle.events.go?.send(2)];
    const outcomes = (await Promise.allSettled(requestFor)).map((one) =>
      one.status === "rejected" ? one.reason.code : "ok",
    );
    expect(outcomes).toEqual(["FORBIDDEN", "ok", "FORBIDDEN", "ok"]);
    const inside = new Stage(getFixture().aiki.api());
    expect((await inside.entries(id)).map(({ value }) => value.type)).toEqual(["arrived", "arrived"]);
    expect((await inside.view(id)).status).toBe("queued");
    await aiki.close();
  });

  it("the namespace of a request is that of its key", async () => {
    const { secret } = await getFixture().key({ namespace: "mine" });
    const spec = { id: v7(), name: "n", versionId: "1" };
    const named = await getFixture().ask("start", { runs: [spec], namespace: "default" }, `Bearer ${secret}`);
    expect(named.status).toBe(400);
    await getFixture().ask("start", { runs: [spec] }, `Bearer ${secret}`);
    const read = (namespace: string) =>
      getFixture()
        .aiki.api(namespace)
        .read({ runs: [{ runId: spec.id }] });
    expect((await read("mine")).results).toMatchObject([{ ok: true }]);
    expect((await read("default")).results).toMatchObject([{ code: "RUN_NOT_FOUND" }]);
  });

  it("a long poll continues after its key is revoked, and the next one is refused", async () => {
    const { id, secret } = await getFixture().key();
    const waits = getFixture().ask("watch", { watched: [], waitMs: 500 }, `Bearer ${secret}`);
    await expect
      .poll(async () => (await getFixture().aiki.keys.list()).find((key) => key.id === id)?.lastUsedAt)
      .not.toBeNull();
    await getFixture().aiki.keys.revoke(id);
    expect((await waits).status).toBe(200);
    expect((await getFixture().ask("watch", { watched: [], waitMs: 500 }, `Bearer ${secret}`)).status).toBe(401);
  });

  it("a client and a worker may do what their keys permit, and get errors for the rest", async () => {
    const starts = await getFixture().client(
      (await getFixture().key({ namespace: "t", scopes: ["runs:start"] })).secret,
    );
    const reads = await getFixture().client((await getFixture().key({ namespace: "t", scopes: ["runs:read"] })).secret);
    const works = await getFixture().client(
      (await getFixture().key({ namespace: "t", scopes: ["workers:run"] })).secret,
    );
    const none = await getFixture().client("ak_wrong");
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

function otherNamespaces(getFixture: () => AuthFixture): void {
  /** A run in namespace b that a worker holds, with an entry and a child. */
  async function victim(): Promise<About & { name: string; watch(): Promise<unknown> }> {
    const api = getFixture().aiki.api("b");
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

  it.each(verbs.filter((verb) => verb !== "start"))(
    "%s replies to ids of another namespace as to unknown ids",
    async (verb) => {
      const target = await victim();
      const before = await target.watch();
      const bearer = `Bearer ${(await getFixture().key({ namespace: "a", scopes: ["admin"] })).secret}`;
      const unknown = about();
      const foreign = await getFixture().ask(verb, requestFor(verb, target), bearer);
      const strange = await getFixture().ask(verb, requestFor(verb, { ...target, ...unknown }), bearer);
      const blank = (text: string) => text.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "<id>");
      expect([foreign.status, blank(foreign.body)]).toEqual([strange.status, blank(strange.body)]);
      expect(foreign.body).not.toContain("secret of b");
      expect(await target.watch()).toEqual(before);
    },
  );

  it("ids of another namespace cannot be started again, but reference ids can be reused", async () => {
    const target = await victim();
    const before = await target.watch();
    const bearer = `Bearer ${(await getFixture().key({ namespace: "a" })).secret}`;
    const spec = {
      name: target.name,
      versionId: "1.0.0",
      input: '"secret of b"',
      referenceId: "shared",
      inputHash: "h",
    };
    const taken = await getFixture().ask("start", { runs: [{ ...spec, id: target.runId }] }, bearer);
    expect(JSON.parse(taken.body)).toMatchObject({ results: [{ ok: false, code: "RUN_ID_CONFLICT" }] });
    const id = v7();
    const free = await getFixture().ask("start", { runs: [{ ...spec, id }] }, bearer);
    expect(JSON.parse(free.body)).toEqual({ results: [{ ok: true, id, created: true }] });
    expect(await target.watch()).toEqual(before);
  });

  it("runs of another namespace are not listed by any filter or cursor", async () => {
    const target = await victim();
    const bearer = `Bearer ${(await getFixture().key({ namespace: "sweeper" })).secret}`;
    const cursor = Buffer.from("9000000000000000 ffffffff-ffff-7fff-bfff-ffffffffffff").toString("base64url");
    const filters = [
      {},
      { cursor },
      { parentId: target.runId },
      { name: target.name },
      { referenceId: "shared" },
      { status: ["running"] },
    ];
    for (const filter of filters) {
      expect(JSON.parse((await getFixture().ask("find", filter, bearer)).body)).toEqual({ runs: [] });
    }
  });

  it("runs of another namespace are not claimed by a worker of the same workflow", async () => {
    const stage = new Stage(getFixture().aiki.api("b"));
    const runId = await stage.start();
    const bearer = `Bearer ${(await getFixture().key({ namespace: "a" })).secret}`;
    const request = { ...bodiesAbout(about()).claim, serves: [{ name: stage.name, versionId: "1.0.0" }] };
    const claimed = await getFixture().ask("claim", request, bearer);
    expect(JSON.parse(claimed.body).runs).toEqual([]);
    expect((await stage.view(runId)).explanation).toContain("no worker serves");
    expect((await stage.worker().claimOne()).id).toBe(runId);
  });

  it("runs of another namespace are not claimed again under the session that suspended them", async () => {
    const stage = new Stage(getFixture().aiki.api("b"));
    await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.suspend(run, [awaits("go")]);
    const bearer = `Bearer ${(await getFixture().key({ namespace: "a" })).secret}`;
    const reclaim = { serves: [], reclaim: [{ runId: run.id, fence: run.fence }], limit: 10 };
    const foreign = await getFixture().ask("claim", worker.request(reclaim), bearer);
    expect(JSON.parse(foreign.body).runs).toEqual([]);
    expect(await worker.claim(reclaim)).toMatchObject([{ id: run.id, fence: run.fence + 1 }]);
  });

  it("ids of another namespace as new ids of children or retries do not change their runs", async () => {
    const target = await victim();
    const before = await target.watch();
    const mine = new Stage(getFixture().aiki.api("a"));
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

/** A valid request of this verb about a run. */
function requestFor(verb: Verb, { runId, session, claimId, fence }: About): unknown {
  const body = bodiesAbout({ runId, session, claimId, fence })[verb];
  return verb === "signal" ? JSON.parse(JSON.stringify(body)) : body;
}

function logLines(getFixture: () => AuthFixture): void {
  it("the log names refused keys with the reason, new and revoked keys, and the key of control signals", async () => {
    const { id, secret } = await getFixture().key({ scopes: ["runs:start", "runs:control"] });
    const runId = v7();
    const asking = bodiesAbout({ ...about(), runId });
    const bearer = `Bearer ${secret}`;
    const cancel = { signals: [{ signalId: v7(), runId, signal: { type: "cancel" } }] };
    await getFixture().ask("start", asking.start, bearer);
    await getFixture().ask("signal", cancel, bearer);
    await getFixture().aiki.keys.revoke(id);
    const line = (...parts: string[]) => getFixture().lines.some((one) => parts.every((part) => one.includes(part)));
    expect(line('"API key created"', id)).toBe(true);
    expect(line('"API key revoked"', id)).toBe(true);
    expect(line('"info"', '"control signal"', '"cancel"', runId, id, '"ok"')).toBe(true);
    // The log limits refusals per second, and earlier tests may have reached the limit.
    await expect
      .poll(async () => {
        await getFixture().ask("find", {}, bearer);
        return line('"authentication failed"', '"revoked"', id);
      })
      .toBe(true);
  });

  it("the journal of a run names the key that sent a control signal, whatever the request says", async () => {
    const { secret } = await getFixture().key({ name: "ops", scopes: ["runs:start", "runs:control", "runs:read"] });
    const runId = v7();
    const bearer = `Bearer ${secret}`;
    await getFixture().ask("start", bodiesAbout({ ...about(), runId }).start, bearer);
    const pause = { signalId: v7(), runId, by: "somebody else", signal: { type: "pause", reason: "no stock" } };
    await getFixture().ask("signal", { signals: [pause] }, bearer);
    const reading = { runs: [{ runId, entries: { after: 0, limit: 10 } }], why: runId };
    const { body } = await getFixture().ask("read", reading, bearer);
    expect(JSON.parse(body)).toMatchObject({
      results: [{ entries: [{ value: { mark: "pause_requested", by: "ops", reason: "no stock" } }, {}] }],
      why: { why: { text: expect.stringMatching(/^Paused by ops \(no stock\); resume continues it\./) } },
    });
  });

  it("the log contains no secret or digest of a key", () => {
    const all = getFixture().lines.join("\n");
    expect(getFixture().secrets.length).toBeGreaterThan(10);
    for (const secret of getFixture().secrets) expect(all).not.toContain(secret.slice(15, 58));
    expect(all).not.toMatch(/[0-9a-f]{64}/);
  });
}
