import { describe, expect, it } from "vitest";
import { workflow } from "../definition/workflow.ts";
import { registry } from "./registry.ts";

const handler = async (): Promise<number> => 1;
const another = async (): Promise<number> => 2;

describe("the registry", () => {
  it("the registry serves all versions of a workflow, including those defined later", () => {
    const orders = workflow({ name: "orders" });
    const first = orders.v("1", { handler });
    const served = registry().add(orders);
    const second = orders.v("2", { handler: another });
    expect(served.serves()).toEqual([
      { name: "orders", versionId: "1" },
      { name: "orders", versionId: "2" },
    ]);
    expect(served.find("orders", "1")).toBe(first);
    expect(served.find("orders", "2")).toBe(second);
  });

  it("the registry serves one version if only that was added", () => {
    const orders = workflow({ name: "orders" });
    const first = orders.v("1", { handler });
    orders.v("2", { handler });
    const served = registry().add(first);
    expect(served.serves()).toEqual([{ name: "orders", versionId: "1" }]);
    expect(served.find("orders", "2")).toBeUndefined();
  });

  it("the registry adds and removes, and its methods chain", () => {
    const a = workflow({ name: "a" });
    const b = workflow({ name: "b" });
    const a1 = a.v("1", { handler });
    a.v("2", { handler });
    b.v("1", { handler });
    const served = registry().addMany([a, b]).remove(a1);
    expect(served.serves()).toEqual([
      { name: "a", versionId: "2" },
      { name: "b", versionId: "1" },
    ]);
    expect(served.add(a1).serves()).toHaveLength(3);
    expect(served.remove(a).serves()).toEqual([{ name: "b", versionId: "1" }]);
    expect(served.removeAll().serves()).toEqual([]);
    expect(served.remove(a1).add(a).serves()).toHaveLength(2);
  });

  it("the registry refuses a known version with another handler, and then adds none of the batch", () => {
    const served = registry().add(workflow({ name: "a" }).v("1", { handler }));
    const fresh = workflow({ name: "b" }).v("1", { handler });
    const clash = workflow({ name: "a" }).v("1", { handler: another });
    expect(() => served.addMany([fresh, clash])).toThrow(expect.objectContaining({ code: "DUPLICATE_VERSION" }));
    expect(() => registry().addMany([clash, workflow({ name: "a" }).v("1", { handler })])).toThrow(/another handler/);
    expect(served.serves()).toEqual([{ name: "a", versionId: "1" }]);
    expect(served.add(workflow({ name: "a" }).v("1", { handler })).serves()).toHaveLength(1);
  });

  it("the registry refuses a value that is neither a workflow nor a version", () => {
    for (const wrong of [undefined, {}, { name: "task" }, [workflow({ name: "a" })]]) {
      for (const method of ["add", "remove"] as const) {
        const served = registry();
        const refusal = { code: "INVALID_CONFIG", message: expect.stringContaining("as workflow() or its v()") };
        expect(() => Reflect.apply(served[method], served, [wrong])).toThrow(expect.objectContaining(refusal));
      }
    }
    const served = registry();
    const mixed = [workflow({ name: "a" }), { name: "task" }];
    expect(() => Reflect.apply(served.addMany, served, [mixed])).toThrow('"task", which is neither');
    expect(() => Reflect.apply(served.addMany, served, [workflow({ name: "a" })])).toThrow("takes an array");
    expect(served.serves()).toEqual([]);
  });

  it("the registry serves workflows of any name", () => {
    const served = registry();
    for (const name of ["constructor", "__proto__", "a:b"]) {
      served.add(workflow({ name }).v("toString", { handler }));
      expect(served.find(name, "toString")?.name).toBe(name);
    }
    expect(served.find("hasOwnProperty", "constructor")).toBeUndefined();
    expect(served.serves()).toHaveLength(3);
  });
});
