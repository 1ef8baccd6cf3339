import { AikiError, type LogFields, silentLogger } from "@aikirun/lib";
import { type Api, verbs } from "@aikirun/lib/protocol";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { knownKeys } from "../auth/known-keys.ts";
import { mintSecret } from "../auth/secret.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import { type Admission, admitKeys } from "./admit.ts";
import type { Exchange } from "./exchange.ts";
import { faultReply } from "./replies.ts";

function exchange(authorization: string | null): Exchange {
  return {
    host: "localhost",
    header: (name) => (name === "authorization" ? authorization : null),
    body: () => Promise.reject(new Error("the body is not read before the key is known")),
    gone: () => new AbortController().signal,
  };
}

async function rig(
  failure: Error | null = null,
): Promise<{ admit: Admission["admit"]; key: string; warned: LogFields[] }> {
  const env = virtualEnv();
  const { keys } = memoryStorage({ env });
  const { id, digest, text } = mintSecret();
  await keys.insert({ id, digest, namespace: "t", name: "n", scopes: ["runs:read"], expiresInMs: null });
  const failing = { ...keys, load: () => Promise.reject(failure) };
  const known = knownKeys({ keys: failure === null ? keys : failing, env, logger: silentLogger });
  const warned: LogFields[] = [];
  const logger = { ...silentLogger, warn: (_: string, fields: LogFields = {}) => warned.push(fields) };
  return { ...admitKeys({ known, api: () => untouchable, env, logger }), key: `Bearer ${text}`, warned };
}

/** An Api that no refused request may reach. */
const untouchable: Api = new Proxy(Object.create(null), {
  get: (_, verb) => {
    throw new Error(`${String(verb)} was reached`);
  },
});

describe("failing key lookups", () => {
  it.each([
    ["the database is unreachable", new AikiError("STORAGE_UNAVAILABLE", "PostgreSQL at db:5432 is unreachable.")],
    ["of an unknown error", new Error("secret detail")],
  ])(
    "if keys cannot be looked up because %s, every call gets 503 with Retry-After and no detail",
    async (_, failure) => {
      const { admit, key } = await rig(failure);
      for (const verb of verbs) {
        const thrown = await admit(exchange(key), verb).catch((error: unknown) => error);
        const reply = faultReply(thrown);
        expect(reply).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
        expect(reply?.body).toContain("UNAVAILABLE");
        expect(reply?.body).not.toMatch(/5432|secret/);
      }
    },
  );

  it("a malformed key is refused without a lookup", async () => {
    const { admit } = await rig(new Error("unreachable"));
    await expect(admit(exchange("Bearer nothing"), "find")).rejects.toMatchObject({ status: 401 });
    await expect(admit(exchange(null), "find")).rejects.toMatchObject({ status: 401 });
  });
});

describe("a key", () => {
  it("the authorization scheme may have any case and more than one space behind it", async () => {
    const { admit, key } = await rig();
    for (const presented of [key, key.replace("Bearer", "bearer"), key.replace("Bearer ", "BEARER   ")]) {
      expect(await admit(exchange(presented), "find")).toBeTypeOf("object");
    }
  });

  it("all requests of a key share one guarded Api", async () => {
    const { admit, key } = await rig();
    expect(await admit(exchange(key), "find")).toBe(await admit(exchange(key), "read"));
  });

  it("a key without the scope is refused with the scope's name, and the log names the key", async () => {
    const { admit, key, warned } = await rig();
    await expect(admit(exchange(key), "start")).rejects.toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringContaining("runs:start"),
    });
    expect(warned).toMatchObject([{ verb: "start", scopes: "runs:start", keyId: key.split("_")[1], namespace: "t" }]);
  });

  it("a refused key is logged with the reason, and the reply has none", async () => {
    const { admit, key, warned } = await rig();
    const replies = [];
    for (const presented of [null, "Bearer x", `Bearer ${mintSecret().text}`, `${key}x`]) {
      replies.push(faultReply(await admit(exchange(presented), "find").catch((error: unknown) => error)));
    }
    expect(warned.map(({ reason }) => reason)).toEqual(["missing", "malformed", "unknown", "malformed"]);
    for (const reply of replies) expect(reply).toEqual(replies[0]);
  });
});
