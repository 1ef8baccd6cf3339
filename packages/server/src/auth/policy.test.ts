import { type Scope, type Signal, scopes, verbs, type Watched } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { opened } from "../../test/opened.ts";
import { allows, lackingForItems, lackingForVerb, signalScope } from "./policy.ts";

const runId = "0190c0de-0000-7000-8000-000000000001";

const signals: ReadonlyArray<[Signal, Scope]> = [
  [{ type: "event", name: "e" }, "events:send"],
  [{ type: "cancel" }, "runs:control"],
  [{ type: "pause" }, "runs:control"],
  [{ type: "resume" }, "runs:control"],
  [{ type: "wake" }, "runs:control"],
  [{ type: "retry", newRunId: runId }, "runs:control"],
];

const watches: ReadonlyArray<[Watched, Scope]> = [
  [{ type: "status", runId, statuses: [] }, "runs:read"],
  [{ type: "changes", runId, fence: 1, seen: 0, after: 0 }, "workers:run"],
];

const of = (...granted: Scope[]): ReadonlySet<Scope> => new Set(granted);

describe("a verb", () => {
  it.each(verbs)("the verb %s requires one of its scopes or admin", (verb) => {
    for (const scope of scopes) {
      const isOpen = scope === "admin" || opened[verb].includes(scope);
      expect(lackingForVerb(of(scope), verb)).toEqual(isOpen ? [] : opened[verb]);
    }
    expect(lackingForVerb(of(), verb)).toEqual(opened[verb]);
  });
});

describe("an item", () => {
  it.each(signals)("signal %j requires its own scope", (signal, scope) => {
    expect(signalScope(signal)).toBe(scope);
    expect(allows(of(scope), scope)).toBe(true);
    expect(allows(of("admin"), scope)).toBe(true);
    expect(allows(of(...scopes.filter((other) => other !== scope && other !== "admin")), scope)).toBe(false);
  });

  it.each(watches)("watching %j requires its own scope", (watched, scope) => {
    const request = { watched: [watched], waitMs: 0 };
    expect(lackingForItems(of(scope), "watch", request)).toEqual([]);
    const others = scopes.filter((other) => other !== scope && other !== "admin");
    expect(lackingForItems(of(...others), "watch", request)).toEqual([scope]);
  });

  it("a mixed watch requires the scopes of all its items", () => {
    const request = { watched: watches.map(([watched]) => watched), waitMs: 0 };
    expect(lackingForItems(of("runs:read"), "watch", request)).toEqual(["workers:run"]);
    expect(lackingForItems(of("runs:read", "workers:run"), "watch", request)).toEqual([]);
  });

  it("listing live workers requires runs:read, and reading a journal does not", () => {
    expect(lackingForItems(of("workers:run"), "read", { runs: [{ runId }] })).toEqual([]);
    expect(lackingForItems(of("workers:run"), "read", { runs: [], workers: true })).toEqual(["runs:read"]);
  });
});
