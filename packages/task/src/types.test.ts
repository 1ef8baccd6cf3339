/** Type tests: `tsc` fails on a type that differs, and on a `@ts-expect-error` line without an error. */

import type { AnyRun, TaskContext } from "@aikirun/lib";
import { childStarter, performer } from "@aikirun/lib/internal";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { type Task, task } from "./task.ts";

const nothing = () => Promise.resolve(undefined);
const run: AnyRun = { [performer]: nothing, [childStarter]: nothing };

interface TaskOrder {
  orderId: string;
  cents: number;
}

describe("the types of a task", () => {
  it("input and output have the types of the handler's annotation and result", () => {
    const charge = task({
      name: "charge",
      async handler(input: TaskOrder, { signal, attempt, idempotencyKey, logger }) {
        expectTypeOf({ signal, attempt, idempotencyKey, logger }).toExtend<Partial<TaskContext>>();
        return { receipt: input.orderId };
      },
      retry: { type: "exponential", maxAttempts: 5, baseDelayMs: 200, maxDelayMs: 30_000 },
      timeout: { seconds: 20 },
      key: (input) => input.orderId,
    });
    expectTypeOf(charge).toEqualTypeOf<Task<TaskOrder, { receipt: string }>>();
    expectTypeOf(charge.start(run, { orderId: "o", cents: 1 })).resolves.toEqualTypeOf<{ receipt: string }>();
    expect(() => {
      // @ts-expect-error the input is missing
      void charge.start(run);
    }).toThrow();
    // @ts-expect-error a field is missing
    void charge.start(run, { orderId: "o" });
    // @ts-expect-error a field has another type
    void charge.start(run, { orderId: "o", cents: "1" });
    // @ts-expect-error a field is unknown
    void charge.start(run, { orderId: "o", cents: 1, sent: 1 });
  });

  it("the input argument is optional if the input may be undefined", () => {
    const ping = task({ name: "ping", handler: () => 1 });
    expectTypeOf(ping).toEqualTypeOf<Task<void, number>>();
    expectTypeOf(ping.start(run)).resolves.toEqualTypeOf<number>();
    // @ts-expect-error a task without input takes none
    void ping.start(run, { a: 1 });
    const maybe = task({ name: "maybe", handler: (input: { a: number } | undefined) => input?.a });
    expectTypeOf(maybe).toEqualTypeOf<Task<{ a: number } | undefined, number | undefined>>();
    void maybe.start(run);
    void maybe.start(run, { a: 1 });
    // @ts-expect-error a field has another type
    void maybe.start(run, { a: "1" });
    const contextOnly = task({ name: "context-only", handler: (_, { attempt }) => attempt });
    expectTypeOf(contextOnly).toEqualTypeOf<Task<void, number>>();
  });

  it("options come after the input, even if there is none", () => {
    const { signal } = new AbortController();
    const ping = task({ name: "ping", handler: () => 1 });
    expectTypeOf(ping.start(run, undefined, { key: "k", signal })).resolves.toEqualTypeOf<number>();
    const charge = task({ name: "charge", handler: (input: TaskOrder) => input.cents });
    void charge.start(run, { orderId: "o", cents: 1 }, { key: "o" });
    const maybe = task({ name: "maybe", handler: (input: { a: number } | undefined) => input?.a });
    void maybe.start(run, undefined, { signal });
    void maybe.start(run, { a: 1 }, { key: "k" });
    const anything = task({ name: "anything", handler: (input: unknown) => input });
    void anything.start(run);
    void anything.start(run, 7, { key: "k" });
    expect(() => {
      // @ts-expect-error the options come after the input
      void charge.start(run, { key: "o" });
      // @ts-expect-error a task without input takes none in its place
      void ping.start(run, { key: "k" });
      // @ts-expect-error a key is a string
      void charge.start(run, { orderId: "o", cents: 1 }, { key: 7 });
    }).toThrow(expect.objectContaining({ code: "INVALID_KEY" }));
    expect(() => {
      // @ts-expect-error retries are the task's, not the call's
      void ping.start(run, undefined, { retry: { type: "never" } });
    }).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });

  it("callers pass the input of the input schema, and the handler gets its output", () => {
    const parse = task({
      name: "parse",
      schema: { input: z.object({ at: z.string().transform((text) => text.length), n: z.number().default(1) }) },
      handler(input) {
        expectTypeOf(input).toEqualTypeOf<{ at: number; n: number }>();
        return input.n;
      },
      key: (input) => String(input.at),
    });
    expectTypeOf(parse).toEqualTypeOf<Task<{ at: string; n?: number | undefined }, number>>();
    void parse.start(run, { at: "2026" });
    // @ts-expect-error what the schema gives the handler is not what callers give
    void parse.start(run, { at: 2026 });
  });

  it("the handler returns the input of the output schema, and callers get its output", () => {
    const load = task({
      name: "load",
      schema: { output: z.object({ size: z.string().transform(Number) }) },
      handler: async (_input: { url: string }) => ({ size: "7" }),
    });
    expectTypeOf(load).toEqualTypeOf<Task<{ url: string }, { size: number }>>();
    const choose = task({
      name: "choose",
      schema: { output: z.union([z.object({ is: z.literal("a") }), z.object({ is: z.literal("b"), n: z.number() })]) },
      handler: async (input: { n: number }) => (input.n > 0 ? { is: "b", n: input.n } : { is: "a" }),
    });
    expectTypeOf(choose).toEqualTypeOf<Task<{ n: number }, { is: "a" } | { is: "b"; n: number }>>();
    task({
      name: "wrong",
      // @ts-expect-error the handler returns a number
      schema: { output: z.object({ size: z.string() }) },
      handler: async () => ({ size: 7 }),
    });
  });

  it("a task cannot be started with a value that is not a run", () => {
    const ping = task({ name: "ping", handler: () => 1 });
    // @ts-expect-error a client is not a run
    expect(() => ping.start({ url: "http://localhost:9090" })).toThrow();
  });

  it("misspelt options do not compile", () => {
    const handler = () => 1;
    // @ts-expect-error weeks are no unit
    expect(() => task({ name: "x", handler, timeout: { weeks: 1 } })).toThrow();
    // @ts-expect-error a fixed policy has a delay
    expect(() => task({ name: "x", handler, retry: { type: "fixed", maxAttempts: 3 } })).toThrow();
    // @ts-expect-error retries is no option
    expect(() => task({ name: "x", handler, retries: 3 })).toThrow();
  });
});
