import type { AnyClient, AnyRun } from "@aikirun/lib";
import { type ChildCall, childStarter, performer, starter } from "@aikirun/lib/internal";
import { describe, expect, it } from "vitest";
import { event } from "./event.ts";
import { workflow } from "./workflow.ts";

const handler = async (): Promise<number> => 1;

describe("a workflow", () => {
  it("a workflow refuses a version id of another handler, and accepts the same version twice", () => {
    const orders = workflow({ name: "orders" });
    orders.v("1", { handler });
    orders.v("1", { handler });
    expect(() => orders.v("1", { handler: async () => 2 })).toThrow(
      expect.objectContaining({ code: "DUPLICATE_VERSION", ids: { workflow: "orders", versionId: "1" } }),
    );
    expect([...orders.versions.keys()]).toEqual(["1"]);
  });

  it("a workflow refuses invalid options when they are passed", () => {
    const bad: Array<[() => unknown, string]> = [
      [() => workflow({ name: "" }), "INVALID_NAME"],
      [() => workflow({ name: "w" }).v("", { handler }), "INVALID_NAME"],
      [() => workflow({ name: "w" }).v("1", { handler, timeout: { seconds: -1 } }), "INVALID_DURATION"],
      [
        () => workflow({ name: "w" }).v("1", { handler, retry: { type: "fixed", maxAttempts: 0, delayMs: 1 } }),
        "INVALID_RETRY_POLICY",
      ],
      [() => workflow({ name: "w" }).v("1", { handler, events: { "": event() } }), "INVALID_NAME"],
      [() => Reflect.apply(workflow({ name: "w" }).v, null, ["1", {}]), "INVALID_CONFIG"],
      [() => Reflect.apply(workflow({ name: "w" }).v, null, ["1"]), "INVALID_CONFIG"],
      [() => Reflect.apply(workflow({ name: "w" }).v, null, ["1", { handler, timeoutMs: 5 }]), "INVALID_CONFIG"],
      [() => Reflect.apply(workflow({ name: "w" }).v, null, ["1", { handler, events: { a: 5 } }]), "INVALID_CONFIG"],
      [
        () => Reflect.apply(workflow({ name: "w" }).v, null, ["1", { handler, schema: { input: 5 } }]),
        "INVALID_SCHEMA",
      ],
      [() => workflow({ name: "w" }).v("1", { handler, timeout: { seconds: 0 } }), "INVALID_CONFIG"],
      [() => Reflect.apply(workflow, null, []), "INVALID_CONFIG"],
      [() => Reflect.apply(workflow, null, [{ name: "w", version: "1" }]), "INVALID_CONFIG"],
      [() => Reflect.apply(event, null, [{ schema: {} }]), "INVALID_SCHEMA"],
      [() => Reflect.apply(event, null, [{ schemas: {} }]), "INVALID_CONFIG"],
    ];
    for (const [make, code] of bad) expect(make).toThrow(expect.objectContaining({ code }));
  });
});

describe("a version", () => {
  const v = workflow({ name: "orders" }).v("1", {
    events: { paid: event<number>() },
    timeout: { minutes: 2 },
    handler: async (_run, input: { id: string }) => input.id,
  });

  it("start passes the version to the client", async () => {
    const calls: unknown[] = [];
    const client: AnyClient = {
      async [starter]({ name, versionId, timeoutMs, events }, input, options) {
        calls.push({ name, versionId, timeoutMs, events: Object.keys(events), input, options });
        return { id: "handle" };
      },
    };
    expect(await v.start(client, { id: "o" }, { referenceId: "r" })).toEqual({ id: "handle" });
    expect(calls).toEqual([
      {
        name: "orders",
        versionId: "1",
        timeoutMs: 120_000,
        events: ["paid"],
        input: { id: "o" },
        options: { referenceId: "r" },
      },
    ]);
  });

  it("startAsChild passes the version to the run", async () => {
    const calls: ChildCall[] = [];
    const unused = (): Promise<never> => Promise.reject(new Error("unused"));
    const run: AnyRun = {
      [performer]: unused,
      [childStarter](call) {
        calls.push(call);
        return Promise.resolve({ id: "c", result: unused, waitFor: unused });
      },
    };
    expect((await v.startAsChild(run, { id: "o" })).id).toBe("c");
    expect(calls).toMatchObject([{ version: { name: "orders", versionId: "1" }, input: { id: "o" }, options: {} }]);
  });

  it("a first argument that is no client or no run is refused by its name", async () => {
    await expect(Reflect.apply(v.start, v, [{}, { id: "o" }])).rejects.toMatchObject({ code: "INVALID_CLIENT" });
    expect(() => Reflect.apply(v.startAsChild, v, [{}, { id: "o" }])).toThrow(
      expect.objectContaining({ code: "INVALID_RUN" }),
    );
  });
});
