import { describe, expect, it } from "vitest";
import { z } from "zod";
import { parseWith, type Schema } from "./schema.ts";

const order = z.object({
  id: z.string(),
  items: z.array(z.object({ price: z.number() })),
  note: z.string().default(""),
});

function failing(validate: Schema["~standard"]["validate"]): Schema {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

describe("parseWith", () => {
  it("parseWith returns the schema's output", async () => {
    expect(await parseWith(order, { id: "a", items: [] }, "input")).toEqual({ id: "a", items: [], note: "" });
  });

  it("parseWith awaits asynchronous schemas", async () => {
    const schema = z.string().refine(async (text) => text === "a");
    expect(await parseWith(schema, "a", "input")).toBe("a");
    await expect(parseWith(schema, "b", "input")).rejects.toMatchObject({ code: "SCHEMA_MISMATCH" });
  });

  it("the error has the path of every issue, and is not retryable", async () => {
    const value = { id: 1, items: [{ price: 1 }, { price: "x" }] };
    await expect(parseWith(order, value, 'input of task "ship"')).rejects.toMatchObject({
      code: "SCHEMA_MISMATCH",
      retryable: false,
      message: expect.stringMatching(/^input of task "ship" does not fit.*"ship"\.id: .*"ship"\.items\[1\]\.price: /),
    });
  });

  it("the error shows five issues and counts the others; paths may be segments", async () => {
    const issues = Array.from({ length: 7 }, () => ({ message: "bad", path: [{ key: "a" }, 0, Symbol("s")] }));
    const schema = failing(() => ({ issues }));
    await expect(parseWith(schema, 1, "input")).rejects.toThrow(
      /schema\. (input\.a\[0\]\.Symbol\(s\): bad; ){5}and 2 more$/,
    );
  });

  it("a schema that throws is distinguished from a value that does not fit", async () => {
    const cause = new Error("bug");
    const schema = failing(() => {
      throw cause;
    });
    await expect(parseWith(schema, 1, "input")).rejects.toMatchObject({
      code: "INVALID_SCHEMA",
      cause,
      retryable: false,
    });
  });

  it("parseWith refuses a value that is no Standard Schema", async () => {
    const parse = (schema: unknown) => Reflect.apply(parseWith, undefined, [schema, 1, "input"]);
    await expect(parse({})).rejects.toMatchObject({ code: "INVALID_SCHEMA" });
    await expect(parse(null)).rejects.toMatchObject({ code: "INVALID_SCHEMA" });
  });
});
