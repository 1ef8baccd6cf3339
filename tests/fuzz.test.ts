/** Valid requests of every verb, modified at random: the server must refuse or accept them without a fault. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LogFields, silentLogger } from "@aikirun/lib";
import { type Verb, verbs } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import fc from "fast-check";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testDatabase } from "./real/postgres.ts";
import { type About, bodiesAbout } from "./suites/bodies.ts";

/** The number of requests for each verb. A failing seed is printed, and can be set here. */
const count = 200;
const seed = 20_260_301;

const postgres = await testDatabase();
afterAll(() => postgres?.drop());

/** Values that break code that trusts them. No number is a valid wait, so that no request waits long. */
const hostile = fc.oneof(
  fc.constantFrom<unknown>(null, true, "", "\0", "a\ud800", "\udc00", "__proto__", "constructor", "\u202e"),
  fc.constantFrom<unknown>(-1, -0, 0.5, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 63, 3.2e12, 8.64e15, 1e308, -1e308),
  fc.constantFrom<unknown>([], {}, [[]], { length: 1e9 }, { toString: 1 }, { toJSON: 1 }, { valueOf: 1 }),
  fc.constantFrom<unknown>(
    "😀".repeat(200),
    "x".repeat(256),
    "x".repeat(100_000),
    "'; DROP TABLE run; --",
    "%00",
    "../../etc/passwd",
  ),
  fc.constantFrom<unknown>(Array(1_001).fill(null), Array(10_001).fill(1), deep(150), deep(250)),
  fc.constantFrom("00000000-0000-0000-0000-000000000000", v7().toUpperCase(), `${v7()}\n`, v7()),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.double(),
);

/** Modifications of the text of a request. */
const scars: ReadonlyArray<(text: string, at: number) => string> = [
  (text) => text,
  (text) => text,
  (text) => text,
  (text, at) => text.slice(0, at),
  (text, at) => text.slice(0, at) + text.slice(at + 1),
  (text, at) => `${text.slice(0, at)}\0${text.slice(at)}`,
  (text, at) => `${text.slice(0, at)}\\ud800${text.slice(at)}`,
  (text) => `\ufeff${text}`,
  (text) => `${text}${text}`,
  (text) => text.replace(/\d+/, "1e999"),
  (text) => text.replace(/\d+/, "-0.0000000000000000000000000001"),
  (text) => text.replace(/\{/, '{"__proto__":{"polluted":1},'),
  (text) => text.replace(/\{/, '{"constructor":{"prototype":{"polluted":1}},'),
  (text) => text.replace(/"([a-zA-Z]+)":/, '"$1":null,"$1":'),
];

function fuzzSuite(title: string, open: () => Promise<{ database: string; leave(): Promise<void> }>): void {
  describe(title, () => {
    const faults: Array<[string, LogFields | undefined]> = [];
    let aiki: Server;
    let url = "";
    let bearer = "";
    let leave: () => Promise<void>;

    beforeAll(async () => {
      const ground = await open();
      const error = (message: string, fields?: LogFields) => faults.push([message, fields]);
      aiki = await server({ database: ground.database, auth: true, logger: { ...silentLogger, error } });
      ({ url } = await aiki.listen({ port: 0 }));
      bearer = `Bearer ${(await aiki.keys.create({ name: "fuzz", scopes: ["admin"] })).secret}`;
      leave = async () => {
        await aiki.close();
        await ground.leave();
      };
    });
    afterAll(() => leave());

    const post = async (verb: Verb, body: string): Promise<{ status: number; text: string }> => {
      const headers = { "content-type": "application/json", authorization: bearer };
      const reply = await fetch(`${url}/v1/${verb}`, { method: "POST", headers, body });
      return { status: reply.status, text: await reply.text() };
    };

    /** A run that a session holds, so that requests that are not refused are executed. */
    const held = async (): Promise<About> => {
      const about = { runId: v7(), session: v7(), claimId: v7(), fence: 1 };
      const { start, claim } = bodiesAbout(about);
      await aiki.api().start(start);
      const { runs } = await aiki.api().claim({ ...claim, reclaim: [] });
      expect(runs).toMatchObject([{ id: about.runId, fence: about.fence }]);
      return about;
    };

    it.each(verbs)("%s replies 200 or 4xx to every modified request, and keeps working", async (verb) => {
      const valid: unknown = bodiesAbout(await held())[verb];
      expect((await post(verb, JSON.stringify(valid))).status).toBe(200);
      const place = fc.constantFrom(...placesIn(valid));
      const changes = fc.array(fc.tuple(place, hostile), { minLength: 0, maxLength: 3 });
      const cut = fc.double({ min: 0, max: 1, noNaN: true });
      await fc.assert(
        fc.asyncProperty(changes, fc.constantFrom(...scars), cut, async (changed, scar, where) => {
          const body: unknown = bodiesAbout(await held())[verb];
          const spoilt = changed.reduce((part, [at, value]) => replaced(part, at, value), body);
          const text = JSON.stringify(spoilt) ?? "";
          const { status, text: answer } = await post(verb, scar(text, Math.floor(where * text.length)));
          expect(status === 200 || (status >= 400 && status < 500), `${status} ${answer}`).toBe(true);
          JSON.parse(answer);
        }),
        { numRuns: count, seed, interruptAfterTimeLimit: 40_000 },
      );
      expect(faults).toEqual([]);
      expect(Reflect.get({}, "polluted")).toBeUndefined();
      expect((await post(verb, JSON.stringify(bodiesAbout(await held())[verb]))).status).toBe(200);
    });
  });
}

type BodyPath = readonly PropertyKey[];

/** The paths to all parts of a body, to the whole body, and to a missing part. */
function placesIn(value: unknown): BodyPath[] {
  if (typeof value !== "object" || value === null) return [[]];
  const parts = Object.entries(value).flatMap(([key, part]) => placesIn(part).map((place) => [key, ...place]));
  return [[], ["surplus"], ...parts];
}

function replaced(value: unknown, [key, ...rest]: BodyPath, by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value)) return value.map((part, at) => (String(at) === key ? replaced(part, rest, by) : part));
  if (typeof value !== "object" || value === null) return by;
  return { ...value, [key]: replaced(Reflect.get(value, key), rest, by) };
}

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

fuzzSuite("a server on SQLite", async () => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-fuzz-"));
  const leave = () => rm(directory, { recursive: true, maxRetries: 3 });
  return { database: `sqlite:${join(directory, "aiki.db")}`, leave };
});

describe.skipIf(postgres === null)("with PostgreSQL", () => {
  fuzzSuite("a server on PostgreSQL", async () => ({ database: postgres?.url ?? "", leave: async () => {} }));
});
