/** No password of a url reaches a log, an error or a terminal, for valid and invalid urls. */

import type { Logger } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import { server } from "@aikirun/server";
import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { main } from "../packages/cli/src/main.ts";
import { parseConfig } from "../packages/client/src/config.ts";

const secret = "hunter2";

/** The text around the secret in a password. */
const odd = fc.string({ unit: fc.constantFrom(..."/?#@:%\\ \n\t&=[]'\"`$1x".split("")), maxLength: 4 });
const password = fc.tuple(odd, odd).map(([before, after]) => `${before}${secret}${after}`);
const space = fc.constantFrom("", "", " ", "\n", "\r\n", "\0");
/** No server listens on this port, so an accepted url fails at once. */
const host = "127.0.0.1:1";

/** Urls whose password contains the secret, in valid, invalid and almost valid forms. */
function urls(scheme: string, path: string): fc.Arbitrary<string> {
  const form = fc.constantFrom<(password: string) => string>(
    (text) => `${scheme}://user:${text}@${host}/${path}`,
    (text) => `${scheme}://user:${encodeURIComponent(text)}@${host}/${path}`,
    (text) => `${scheme}://user:${encodeURIComponent(text)}@${host}/${path}?sslmode=${secret}`,
    (text) => `${scheme}://:${text}@${host}`,
    (text) => `${scheme}://user@${host}/${path}?password=${text}`,
    (text) => `${scheme}://user@${host}/${path}?sslmode=disable&password=${encodeURIComponent(text)}`,
    (text) => `${scheme}:/user:${text}@${host}/${path}`,
    (text) => `${scheme}:user:${text}@${host}/${path}`,
    (text) => `${scheme}:\\\\user:${text}@${host}\\${path}`,
    (text) => `${scheme}:///user:${text}@${host}/${path}`,
    (text) => `${scheme}://user:12/${text}@${host}/${path}`,
    (text) => `${scheme}x://user:${text}@${host}/${path}`,
    (text) => `user:${text}@${host}/${path}`,
  );
  return fc.tuple(space, form, password, space).map(([before, make, text, after]) => before + make(text) + after);
}

/** All text of an error that a logger or a user may see. */
function shown(thrown: unknown): string {
  return `${String(thrown)} ${JSON.stringify(describeError(thrown))} ${thrown instanceof Error ? thrown.stack : ""}`;
}

function gathering(lines: string[]): Logger {
  const add = (...line: unknown[]) => lines.push(JSON.stringify(line));
  const logger: Logger = { debug: add, info: add, warn: add, error: add, child: () => logger };
  return logger;
}

/** The log and the error of a server that fails to start. A server that starts is closed. */
async function startOf(params: object): Promise<string> {
  const lines: string[] = [];
  const thrown: unknown = await server({ database: "memory:", ...params, logger: gathering(lines) }).then(
    (made) => made.close(),
    (error) => error,
  );
  return `${lines.join("\n")} ${shown(thrown)}`;
}

const runs = { numRuns: 150 };

describe("the password of a url", { timeout: 60_000 }, () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("the password of a database url is in no log and no error", async () => {
    const property = fc.asyncProperty(urls("postgres", "db"), async (database) => {
      expect(await startOf({ database })).not.toContain(secret);
      expect(await startOf({ database: "postgres://127.0.0.1:1/db", databaseDirect: database })).not.toContain(secret);
    });
    const known: [string][] = [["postgres:///user:hunter2?@127.0.0.1:1/db"]];
    await fc.assert(property, { ...runs, examples: known });
  });

  it("the password of a Redis url is in no log and no error", async () => {
    const property = fc.asyncProperty(urls("redis", "0"), async (redis) => {
      expect(await startOf({ redis })).not.toContain(secret);
    });
    await fc.assert(property, runs);
  });

  it("the passwords of a server url and of a worker's Redis are in no error", () => {
    const refusal = (params: object) => {
      try {
        return parseConfig(params).target;
      } catch (thrown) {
        return shown(thrown);
      }
    };
    const property = fc.property(urls("http", "aiki"), password, (url, text) => {
      expect(JSON.stringify(refusal({ url }))).not.toContain(secret);
      const redis = { host: "127.0.0.1", port: 1, password: `${text}\0` };
      const said = refusal({ url: "http://127.0.0.1:1", redis });
      expect(said).toContain("client.redis.password");
      expect(said).not.toContain(secret);
    });
    fc.assert(property, runs);
  });

  it("the password of a url is not printed by the command line", async () => {
    const lines: string[] = [];
    for (const level of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation((...line: unknown[]) => lines.push(line.join(" ")));
    }
    const say = (line: string) => lines.push(line);
    const terminal = { ...recordedTerminal().terminal, out: say, note: say, err: say };
    const property = fc.asyncProperty(urls("postgres", "db"), urls("redis", "0"), async (database, redis) => {
      const calls = [
        ["migrate", "--database", database],
        ["keys", "list", "--database", database],
        ["move", "--from", database, "--to", database],
        ["server", "--database", "postgres://127.0.0.1:1/db", "--redis", redis],
        ["migrate", `--databse=${database}`],
        ["server", "--port", database],
        [database],
      ];
      for (const args of calls) expect(await main(args, terminal)).not.toBe(0);
      for (const event of ["SIGINT", "SIGTERM"]) process.removeAllListeners(event);
      expect(lines.splice(0).join("\n")).not.toContain(secret);
    });
    await fc.assert(property, { numRuns: 60 });
  });
});
