import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { afterEach, describe, expect, it, vi } from "vitest";
import { main } from "./main.ts";
import { paintFor, unpainted } from "./paint.ts";

const variables = [
  "AIKI_HOST",
  "AIKI_DATABASE",
  "DATABASE_URL",
  "AIKI_DATABASE_CONNECTIONS",
  "AIKI_DATABASE_DIRECT",
  "AIKI_REDIS",
  "REDIS_URL",
  "AIKI_AUTH",
  "AIKI_URL",
  "AIKI_API_KEY",
];

/** A database URL with a port on which nothing listens. */
const nowhere = "postgres://127.0.0.1:1/db";

/** Runs a command that fails, with only these environment variables of Aiki; returns what it prints. */
async function failure(set: Record<string, string>, ...args: string[]): Promise<string> {
  for (const name of variables) vi.stubEnv(name, set[name]);
  const { terminal, out, err } = recordedTerminal();
  expect(await main(args, terminal)).not.toBe(0);
  for (const event of ["SIGINT", "SIGTERM"]) process.removeAllListeners(event);
  return [...out, ...err].join("\n");
}

describe("an environment variable", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it.each([
    ["AIKI_DATABASE", { DATABASE_URL: nowhere }, ["server"]],
    ["DATABASE_URL", { AIKI_DATABASE: nowhere }, ["server"]],
    ["AIKI_DATABASE_CONNECTIONS", { AIKI_DATABASE: nowhere }, ["server"]],
    ["AIKI_DATABASE_DIRECT", { AIKI_DATABASE: nowhere }, ["server"]],
    ["AIKI_REDIS", { AIKI_DATABASE: nowhere }, ["server"]],
    ["REDIS_URL", { AIKI_DATABASE: nowhere }, ["server"]],
    ["AIKI_HOST", { AIKI_DATABASE: nowhere }, ["server"]],
    ["AIKI_AUTH", { AIKI_DATABASE: nowhere }, ["server"]],
    ["DATABASE_URL", { AIKI_DATABASE: nowhere }, ["migrate"]],
    ["AIKI_DATABASE", { DATABASE_URL: nowhere }, ["keys", "list"]],
    ["AIKI_URL", {}, ["runs", "list", "--url", "http://127.0.0.1:1"]],
    ["AIKI_API_KEY", { AIKI_URL: "http://127.0.0.1:1" }, ["runs", "list"]],
  ])(
    "an environment variable %s that is empty or blank counts as unset",
    async (name, set: Record<string, string>, args) => {
      for (const blank of ["", " ", "\r\n"]) {
        expect(await failure({ ...set, [name]: blank }, ...args)).toMatch(/error (STORAGE_UNAVAILABLE|UNREACHABLE): /);
      }
    },
  );

  it("spaces and line breaks around an environment variable are removed", async () => {
    const set = { AIKI_DATABASE: ` ${nowhere}\n`, AIKI_DATABASE_CONNECTIONS: "5\r\n", AIKI_AUTH: "true\n" };
    expect(await failure(set, "server")).toMatch(/error STORAGE_UNAVAILABLE: PostgreSQL at 127\.0\.0\.1:1\/db/);
  });

  it.each([
    [{ AIKI_DATABASE: "a.db" }, /INVALID_CONFIG: .* \(AIKI_DATABASE, option --database\)$/],
    [{ DATABASE_URL: "mysql://h" }, /INVALID_CONFIG: .* \(DATABASE_URL, option --database\)$/],
    [{ AIKI_DATABASE: nowhere, AIKI_DATABASE_DIRECT: "x" }, / \(AIKI_DATABASE_DIRECT, option --database-direct\)$/],
    [{ AIKI_REDIS: "http://h" }, /INVALID_CONFIG: .* \(AIKI_REDIS, option --redis\)$/],
    [{ REDIS_URL: "redis://h?x=1" }, /INVALID_CONFIG: .* \(REDIS_URL, option --redis\)$/],
    [{ AIKI_DATABASE_CONNECTIONS: "1" }, /^error: AIKI_DATABASE_CONNECTIONS \(option --database-connections\) is inv/],
    [{ AIKI_AUTH: "yes" }, /INVALID_CONFIG: AIKI_AUTH is "yes"/],
    [{ AIKI_HOST: "x".repeat(300) }, /INVALID_CONFIG: .* \(AIKI_HOST, option --host\)$/],
  ])("an error about a value names its environment variable: %j", async (set, sentence) => {
    expect(await failure(set, "server", "--port", "0")).toMatch(sentence);
  });

  it("an error names the client's variable, or the command-line option that overrides it", async () => {
    expect(await failure({ AIKI_URL: "ftp://h" }, "workers")).toMatch(/ \(AIKI_URL, option --url\)$/);
    expect(await failure({ AIKI_API_KEY: "a b" }, "workers")).toMatch(/ \(AIKI_API_KEY\)$/);
    const won = await failure({ AIKI_DATABASE: nowhere }, "migrate", "--database", "x.db");
    expect(won).toMatch(/INVALID_CONFIG: .* \(option --database\)$/);
  });

  it("an empty environment variable for colours counts as unset", () => {
    const isPainted = (set: NodeJS.ProcessEnv) => paintFor({ isTTY: false }, set) !== unpainted;
    expect([isPainted({}), isPainted({ FORCE_COLOR: "" }), isPainted({ FORCE_COLOR: "1" })]).toEqual([
      false,
      false,
      true,
    ]);
    expect(isPainted({ FORCE_COLOR: "1", NO_COLOR: "" })).toBe(true);
  });
});
