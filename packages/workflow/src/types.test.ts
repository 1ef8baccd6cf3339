import type { AnyClient, RunHandle } from "@aikirun/lib";
import { describe, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { event } from "./definition/event.ts";
import type { ChildEnded, ChildHandle, ChildReached, ChildTimedOut, WorkflowRun } from "./definition/run.ts";
import { workflow } from "./definition/workflow.ts";
import type { EventWaitResult } from "./replay/event.ts";

interface Order {
  id: string;
  cents: number;
}

const orders = workflow({ name: "orders" });

const v1 = orders.v("1", {
  events: { approved: event<{ by: string }>(), ping: event() },
  async handler(run, input: Order) {
    expectTypeOf(run.events.approved.wait()).toEqualTypeOf<Promise<{ by: string }>>();
    expectTypeOf(run.events.approved.wait({ timeout: { days: 1 } })).toEqualTypeOf<
      Promise<EventWaitResult<{ by: string }>>
    >();
    expectTypeOf(run.step("s", async () => 1)).toEqualTypeOf<Promise<number>>();
    expectTypeOf(run.step("s", () => "x")).toEqualTypeOf<Promise<string>>();
    expectTypeOf(run.sleep({ hours: 1 })).toEqualTypeOf<Promise<{ wokenEarly: boolean }>>();
    return { status: "shipped" as const, id: input.id };
  },
});

const plain = workflow({ name: "plain" }).v("1", { handler: async (run) => run.attempt });

const parsed = workflow({ name: "parsed" }).v("1", {
  schema: { input: z.object({ n: z.string().transform(Number) }), output: z.string() },
  async handler(_run, input) {
    expectTypeOf(input).toEqualTypeOf<{ n: number }>();
    return "text";
  },
});

/** Never called: it only has to compile. */
function rightCalls(client: AnyClient, run: WorkflowRun): void {
  expectTypeOf(v1.start(client, { id: "o", cents: 1 }, { referenceId: "o" })).toExtend<
    Promise<
      RunHandle<
        { status: "shipped"; id: string },
        { approved: ReturnType<typeof event<{ by: string }>>; ping: ReturnType<typeof event<void>> }
      >
    >
  >();
  expectTypeOf(v1.startAsChild(run, { id: "o", cents: 1 })).toEqualTypeOf<
    Promise<ChildHandle<{ status: "shipped"; id: string }>>
  >();
  expectTypeOf(plain.start(client)).toExtend<Promise<RunHandle<number, Record<never, never>>>>();
  plain.start(client, undefined, { tags: ["t"] });
  plain.startAsChild(run, undefined, { onParentEnd: "abandon" });
  parsed.start(client, { n: "1" });
  v1.start(client, { id: "o", cents: 1 }).then(async (handle) => {
    await handle.events.approved.send({ by: "ada" }, { referenceId: "r" });
    await handle.events.ping.send();
  });
  v1.startAsChild(run, { id: "o", cents: 1 }).then(async (handle) => {
    const reached = handle.waitFor("completed", { timeout: { hours: 1 } });
    type Output = { status: "shipped"; id: string };
    expectTypeOf(reached).toEqualTypeOf<Promise<ChildReached<Output, "completed"> | ChildEnded | ChildTimedOut>>();
    expectTypeOf(handle.waitFor("failed")).toEqualTypeOf<Promise<ChildReached<Output, "failed"> | ChildEnded>>();
  });
}

/** Never called: each marked line must not compile. */
function wrongCalls(client: AnyClient, run: WorkflowRun): void {
  // @ts-expect-error the input is missing
  v1.start(client);
  // @ts-expect-error a field is missing
  v1.start(client, { id: "o" });
  // @ts-expect-error a field has another type
  v1.startAsChild(run, { id: 1, cents: 1 });
  // @ts-expect-error no such option
  v1.start(client, { id: "o", cents: 1 }, { reference: "o" });
  // @ts-expect-error a child's conflict is never an error
  v1.startAsChild(run, { id: "o", cents: 1 }, { onConflict: "error" });
  // @ts-expect-error a run is no client
  v1.start(run, { id: "o", cents: 1 });
  // @ts-expect-error a client is no run
  v1.startAsChild(client, { id: "o", cents: 1 });
  // @ts-expect-error it takes no input
  plain.start(client, 1);
  // @ts-expect-error the schema's input is a string
  parsed.start(client, { n: 1 });
  // @ts-expect-error no such unit
  run.sleep({ weeks: 1 });
  // @ts-expect-error no such status
  v1.startAsChild(run, { id: "o", cents: 1 }).then((handle) => handle.waitFor("running"));
  orders.v("2", {
    events: { approved: event<{ by: string }>() },
    async handler(run) {
      // @ts-expect-error no such event
      run.events.rejected.wait();
      // @ts-expect-error the payload has no such field
      (await run.events.approved.wait()).at;
      // @ts-expect-error it may have timed out
      (await run.events.approved.wait({ timeout: { days: 1 } })).data;
    },
  });
  // @ts-expect-error the output does not fit its schema
  orders.v("3", { schema: { output: z.string() }, handler: async () => 1 });
  v1.start(client, { id: "o", cents: 1 }).then((handle) => {
    // @ts-expect-error the payload is missing
    handle.events.approved.send();
    // @ts-expect-error the payload has another type
    handle.events.approved.send({ by: 1 });
  });
}

describe("the types", () => {
  it("input, output, events and child results are typed, and wrong calls do not compile", () => {
    expectTypeOf(rightCalls).toBeFunction();
    expectTypeOf(wrongCalls).toBeFunction();
  });
});
