import { type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { memoryStorage } from "../storage/memory/memory.ts";
import { type Keyring, keyring } from "./keyring.ts";
import { readSecret } from "./secret.ts";

interface KeyringRig {
  keys: Keyring;
  lines: Array<[string, LogFields | undefined]>;
  revoked: string[];
}

function rig(): KeyringRig {
  let now = 1_000;
  const env = { now: () => now++ };
  const lines: KeyringRig["lines"] = [];
  const logger: Logger = { ...silentLogger, info: (message, fields) => lines.push([message, fields]) };
  const revoked: string[] = [];
  return { keys: keyring(memoryStorage({ env }).keys, logger, (id) => revoked.push(id)), lines, revoked };
}

describe("the keyring", () => {
  it("a key has all scopes but admin and metrics:read, namespace default and no expiry by default", async () => {
    const { keys } = rig();
    const { secret, ...key } = await keys.create({ name: "ci" });
    expect(key).toMatchObject({
      name: "ci",
      namespace: "default",
      scopes: ["runs:start", "runs:read", "runs:control", "events:send", "workers:run"],
      expiresAt: null,
      revokedAt: null,
      lastUsedAt: null,
    });
    expect(readSecret(secret)?.id).toBe(key.id);
  });

  it("a key has the requested name, scopes, namespace and expiry", async () => {
    const { keys } = rig();
    const wanted = { name: "n", namespace: "tenant", scopes: ["admin", "runs:read"], expiresIn: { days: 1 } } as const;
    const key = await keys.create(wanted);
    expect(key).toMatchObject({ namespace: "tenant", scopes: ["runs:read", "admin"] });
    expect(key.expiresAt).toBe(key.createdAt + 86_400_000);
  });

  it("list returns all keys, oldest first, without secret and digest", async () => {
    const { keys } = rig();
    const made = [await keys.create({ name: "a" }), await keys.create({ name: "b" }), await keys.create({ name: "c" })];
    const listed = await keys.list();
    expect(listed).toEqual(made.map(({ secret: _, ...key }) => key));
    expect(JSON.stringify(listed)).not.toContain("digest");
  });

  it("revoke takes an id, calls onRevoked, and rejects an unknown id", async () => {
    const { keys, revoked } = rig();
    const { id } = await keys.create({ name: "a" });
    const first = await keys.revoke(id);
    expect(first.revokedAt).not.toBeNull();
    expect(await keys.revoke(id)).toEqual(first);
    expect(revoked).toEqual([id, id]);
    await expect(keys.revoke("unknown")).rejects.toMatchObject({ code: "KEY_NOT_FOUND", ids: { keyId: "unknown" } });
  });

  it("creating and revoking a key is logged without the secret", async () => {
    const { keys, lines } = rig();
    const { id, secret } = await keys.create({ name: "a" });
    await keys.revoke(id);
    expect(lines).toMatchObject([
      ["API key created", { keyId: id, name: "a", namespace: "default" }],
      ["API key revoked", { keyId: id, name: "a", namespace: "default" }],
    ]);
    expect(JSON.stringify(lines)).not.toContain(secret.slice(15));
  });

  it.each([
    [{}, "INVALID_CONFIG"],
    [{ name: "" }, "INVALID_NAME"],
    [{ name: "a\0" }, "INVALID_NAME"],
    [{ name: "a", namespace: "" }, "INVALID_NAME"],
    [{ name: "a", namespace: "\ud800" }, "INVALID_NAME"],
    [{ name: "a", scopes: [] }, "INVALID_CONFIG"],
    [{ name: "a", scopes: ["runs:everything"] }, "INVALID_CONFIG"],
    [{ name: "a", scopes: "admin" }, "INVALID_CONFIG"],
    [{ name: "a", expiresIn: { days: 0 } }, "INVALID_CONFIG"],
    [{ name: "a", expiresIn: { days: 1e9 } }, "INVALID_DURATION"],
    [{ name: "a", scope: ["admin"] }, "INVALID_CONFIG"],
  ])("create refuses %j with %s", async (options, code) => {
    await expect(Reflect.apply(rig().keys.create, null, [options])).rejects.toMatchObject({ code });
  });
});
