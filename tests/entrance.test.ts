/** The server's schemas accept everything that the checks of client, worker and handler accept. */

import { type Client, client } from "@aikirun/client";
import { isAikiError, silentLogger } from "@aikirun/lib";
import { addressOf, arrivalAddress, describeError } from "@aikirun/lib/internal";
import type { Api, ClaimRequest, FindRequest, Report, RunSpec, SignalItem } from "@aikirun/lib/protocol";
import { server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { event, workflow } from "@aikirun/workflow";
import fc from "fast-check";
import { v7 } from "uuid";
import { describe, expect, it } from "vitest";
import { claimRequest, findRequest, report, runSpec, signalItem } from "../packages/server/src/http/schemas.ts";
import { childSpec } from "../packages/workflow/src/replay/child-spec.ts";

const runId = v7();
const orderV1 = workflow({ name: "order" }).v("1.0.0", {
  events: { approved: event<unknown>() },
  timeout: { days: 36_525 },
  handler: async () => {},
});

/** Values at the limits of what a check must accept or refuse. */
const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 8 }),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.constantFrom("👍", "👍".slice(0, 1), "👍".slice(1), "a\0", "", "__proto__", "\u0001", "e\u0301"),
  fc.constantFrom("x".repeat(255), "x".repeat(256), "👍".repeat(127), "👍".repeat(128), "é".repeat(255)),
);
const number = fc.oneof(
  fc.integer({ min: -1_001, max: 1_001 }),
  fc.double(),
  fc.constantFrom(-0, 0.4, 8.64e15, 8.64e15 + 1, -8.64e15, 2 ** 53, 3_155_760_000_000, 3_155_760_000_001, Number.NaN),
);
const wrong = fc.constantFrom<unknown>(null, undefined, "5", 5, true, [], {}, () => 1, Symbol("x"), 1n);
const or = <Value>(right: fc.Arbitrary<Value>) =>
  fc.oneof({ weight: 9, arbitrary: right }, { weight: 1, arbitrary: wrong });
const duration = fc.record(
  { days: number, seconds: fc.nat({ max: 100 }), milliseconds: number },
  { requiredKeys: ["seconds"] },
);
const moment = fc.oneof(
  fc.date({ noInvalidDate: false }),
  number,
  number.map((at) => new Date(at)),
);
const texts = fc.oneof(
  fc.uniqueArray(text, { maxLength: 4 }),
  fc.sparseArray(text, { maxNumElements: 3, maxLength: 33 }),
  fc.integer({ min: 30, max: 34 }).map((length) => Array.from({ length }, (_, index) => `tag ${index}`)),
);
const delayMs = or(number);
const retry = fc.record(
  {
    type: fc.constantFrom("never", "fixed", "exponential", "jittered"),
    maxAttempts: or(number),
    delayMs,
    baseDelayMs: delayMs,
    factor: fc.option(number, { nil: undefined }),
    maxDelayMs: fc.option(number, { nil: undefined }),
    jitterFactor: fc.option(fc.double({ min: -1, max: 2 }), { nil: undefined }),
  },
  { requiredKeys: ["type"] },
);
const good = fc.constantFrom<object>(
  { type: "never" },
  { type: "fixed", maxAttempts: 3, delayMs: 0.5 },
  { type: "exponential", maxAttempts: 3, baseDelayMs: 1, factor: undefined },
  { type: "jittered", maxAttempts: 2 ** 53 - 1, baseDelayMs: 3_155_760_000_000, jitterFactor: 1 },
);
const startFields = {
  referenceId: or(text),
  delay: or(duration),
  at: or(moment),
  shardKey: or(text),
  priority: or(number),
  retry: fc.oneof(good, or(retry)),
  timeout: or(duration),
  tags: or(texts),
};
const startOptions = few({ ...startFields, onConflict: or(fc.constant("error")) });
const childOptions = few({ ...startFields, onParentEnd: or(fc.constant("abandon")) });
const input = fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.string({ unit: "binary" }));

/** An object with few of the fields, so that some objects have only valid fields. */
function few(fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<object> {
  const field = fc.oneof(
    ...Object.entries(fields).map(([name, value]) => value.map((given) => [name, given] as const)),
  );
  return fc.array(field, { maxLength: 3 }).map((chosen) => Object.fromEntries(chosen));
}

/** Collects the requests to the server. */
interface SentRequests {
  specs: RunSpec[];
  signals: SignalItem[];
  claims: ClaimRequest[];
  finds: FindRequest[];
}

async function connect(): Promise<{ aiki: Client; sent: SentRequests }> {
  const sent: SentRequests = { specs: [], signals: [], claims: [], finds: [] };
  const never = () => new Promise<never>(() => {});
  const api: Api = {
    async start({ runs }) {
      sent.specs.push(...runs);
      return { results: runs.map(({ id }) => ({ ok: true, id, created: true })) };
    },
    async signal({ signals }) {
      sent.signals.push(...signals);
      return { results: signals.map((item) => ({ ok: true, runId: item.runId, status: "queued" })) };
    },
    async claim(request) {
      sent.claims.push(request);
      return { runs: [] };
    },
    async find(request) {
      sent.finds.push(request);
      return { runs: [] };
    },
    renew: async () => ({ results: [] }),
    read: async () => ({ results: [] }),
    report: never,
    watch: never,
  };
  return { aiki: await client({ server: { api: () => api }, logger: silentLogger }), sent };
}

/** How many calls the client side accepted and refused. */
class CallTally {
  accepted = 0;
  refused = 0;

  async accepts(call: () => unknown): Promise<boolean> {
    try {
      await call();
      this.accepted += 1;
      return true;
    } catch (thrown) {
      if (!isAikiError(thrown) || !/^(INVALID_|UNSERIALIZABLE)/.test(thrown.code)) throw thrown;
      this.refused += 1;
      return false;
    }
  }
}

/** Runs the property, which must have seen both. */
async function always<Value>(
  values: fc.Arbitrary<Value>,
  holds: (value: Value, tally: CallTally) => Promise<void>,
  numRuns = 1_000,
): Promise<void> {
  const tally = new CallTally();
  await fc.assert(
    fc.asyncProperty(values, (value) => holds(value, tally)),
    { numRuns },
  );
  expect(tally.accepted).toBeGreaterThan(numRuns / 50);
  expect(tally.refused).toBeGreaterThan(numRuns / 50);
}

describe("arguments that the client side accepts", () => {
  it("the server accepts every start that the client accepts", async () => {
    const { aiki, sent } = await connect();
    await always(fc.tuple(input, startOptions), async ([given, options], tally) => {
      sent.specs.length = 0;
      if (!(await tally.accepts(() => Reflect.apply(orderV1.start, orderV1, [aiki, given, options])))) return;
      expect(sent.specs.map((spec) => runSpec.parse(spec))).toEqual(sent.specs);
      expect(runSpec.safeParse(JSON.parse(JSON.stringify(sent.specs[0]))).success).toBe(true);
    });
  });

  it("the server accepts every start of a child that the handler accepts", async () => {
    await always(childOptions, async (options, tally) => {
      const start = () => Reflect.apply(childSpec, undefined, [runId, orderV1, undefined, options]);
      await tally.accepts(() => expect(runSpec.parse(start())).toEqual(start()));
    });
  });

  it("the server accepts every signal that the client accepts", async () => {
    const { aiki, sent } = await connect();
    const untyped = aiki.runs.get(runId);
    const sending = fc.tuple(text, input, fc.record({ referenceId: or(text) }, { requiredKeys: [] }));
    await always(sending, async ([name, data, options], tally) => {
      sent.signals.length = 0;
      const { events } = untyped;
      const sender = events[name];
      await tally.accepts(() => sender !== undefined && Reflect.apply(sender.send, sender, [data, options]));
      await tally.accepts(() => Reflect.apply(untyped.cancel, untyped, [options.referenceId]));
      for (const item of sent.signals) expect(signalItem.parse(item)).toEqual(item);
    });
    sent.signals.length = 0;
    await Promise.all([untyped.pause(), untyped.resume(), untyped.wake(), untyped.retry()]);
    expect(sent.signals.map((item) => signalItem.parse(item).signal.type)).toEqual([
      "pause",
      "resume",
      "wake",
      "retry",
    ]);
  });

  it("the server accepts every claim that the worker accepts", async () => {
    const params = fc.record(
      {
        id: or(text),
        shardKeys: or(texts),
        maxConcurrentWorkflowRuns: or(fc.integer({ min: 0, max: 1_001 })),
        workflowRun: fc.record({ heartbeatIntervalMs: fc.oneof(number, fc.integer({ min: 49, max: 28_800_001 })) }),
      },
      { requiredKeys: [] },
    );
    const claiming = fc.tuple(params, fc.record({ name: text, versionId: text }));
    await always(
      claiming,
      async ([given, served], tally) => {
        const { aiki, sent } = await connect();
        const isAccepted = await tally.accepts(async () => {
          const one = Reflect.apply(worker, undefined, [aiki, given]);
          const { name, versionId } = served;
          const definition = workflow({ name });
          definition.v(versionId, { handler: async () => {} });
          one.registry.add(definition);
          await one.start();
          await one.stop();
        });
        await aiki.close();
        if (isAccepted) expect(sent.claims.length).toBeGreaterThan(0);
        for (const claim of sent.claims) expect(claimRequest.parse(claim)).toEqual(claim);
      },
      200,
    );
  });

  it("the server accepts every filter of runs that the client accepts", async () => {
    const { aiki, sent } = await connect();
    const filter = few({
      name: or(text),
      versionId: or(text),
      status: fc.constantFrom<unknown>("queued", ["queued", "failed"], [], "done", ["done"]),
      referenceId: or(text),
      shardKey: or(text),
      parentId: fc.oneof(fc.constant(runId), text, fc.constant(runId.toUpperCase())),
      idPrefix: fc.oneof(
        fc.nat(40).map((length) => `${runId}0123`.slice(0, length)),
        text,
        fc.constant("0189-"),
      ),
      tags: or(texts),
      createdAfter: or(moment),
      createdBefore: or(moment),
      limit: or(number),
      cursor: or(text),
    });
    await always(filter, async (given, tally) => {
      sent.finds.length = 0;
      await tally.accepts(() => Reflect.apply(aiki.runs.list, aiki.runs, [given]));
      for (const find of sent.finds) expect(findRequest.parse(find)).toEqual(find);
    });
  });
});

it("a start with a date in the past is queued at once, and any reason of a cancellation is kept", async () => {
  const aikiServer = await server({ database: "memory:", logger: silentLogger });
  const aiki = await client({ server: aikiServer, logger: silentLogger });
  try {
    for (const options of [{ at: new Date("1969-07-20") }, { at: 0 }, { delay: { milliseconds: -5 } }]) {
      expect(await (await orderV1.start(aiki, undefined, options)).status()).toBe("queued");
    }
    const handle = await orderV1.start(aiki, undefined, { at: 8.64e15 });
    expect(await handle.status()).toBe("scheduled");
    const reason = "NUL \0 and half of \ud83d";
    await handle.cancel(reason);
    expect((await handle.view()).outcome).toEqual({ status: "cancelled", reason });
  } finally {
    await aiki.close();
    await aikiServer.close();
  }
});

describe("values that the worker derives", () => {
  const reported = (entry: object): Report["entries"][number] | undefined =>
    report.parse({
      ...{ reportId: "r", runId, fence: 1, seen: 0, after: 0, opens: [], starts: [] },
      entries: [entry],
      next: { type: "continue" },
    }).entries[0];

  it("the server accepts an address made of any name", () => {
    const part = fc.oneof(text, fc.string({ unit: "binary", maxLength: 1_000 }));
    fc.assert(
      fc.property(part, part, part, fc.nat(), (kind, name, content, ordinal) => {
        for (const address of [addressOf(kind, name, content, ordinal), arrivalAddress(name, content)]) {
          expect(reported({ address, value: { type: "returned" } })).toMatchObject({ address });
        }
      }),
    );
  });

  it("the server accepts the error made of any thrown value", () => {
    const fields = fc.dictionary(fc.string({ unit: "binary" }), fc.anything());
    const errors = fc
      .tuple(fc.array(fc.anything(), { maxLength: 12 }), fields, fc.oneof(text, number))
      .map(([parts, own, code]) => Object.assign(new AggregateError(parts, "all", { cause: parts[0] }), own, { code }));
    fc.assert(
      fc.property(fc.oneof(fc.anything(), errors), (thrown) => {
        const error = describeError(thrown);
        const { value } = reported({ address: "task:t#0", value: { type: "threw", error } }) ?? {};
        expect(value).toEqual({ type: "threw", error });
      }),
    );
  });

  it("the server refuses an error that is larger than any that the worker makes", () => {
    const error = { name: "E", message: "m" };
    const beyond: Array<[object, string]> = [
      [{ errors: Array(11).fill(error) }, "errors"],
      [{ errors: [{ ...error, details: 1 }] }, "details"],
      [{ code: true }, "code"],
      [{ code: Number.NaN }, "code"],
      [{ omittedErrors: -1 }, "omittedErrors"],
      [{ details: "x".repeat(65_537) }, "details"],
      [{ errors: Array(10).fill({ ...error, stack: "x".repeat(7_000) }) }, "causes and errors included"],
      [{ message: "\0".repeat(12_000) }, "causes and errors included"],
    ];
    const entryOf = (fields: object) => ({
      address: "task:t#0",
      value: { type: "threw", error: { ...error, ...fields } },
    });
    for (const [fields, sentence] of beyond) expect(() => reported(entryOf(fields))).toThrow(sentence);
    const most = { code: 7, details: "{}", errors: Array(10).fill(error), omittedErrors: 1 };
    expect(reported(entryOf(most))).toEqual(entryOf(most));
  });
});
