/** The points of a server distinguish its transactions, because several are open at once on PostgreSQL. */

import { randomUUID } from "node:crypto";
import { silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { afterAll, describe, expect, it } from "vitest";
import { testDatabase } from "../real/postgres.ts";
import { queuedRun, returnedEntry, runId } from "../suites/records.ts";
import { openReaching } from "./server-storage.ts";

const database = await testDatabase();
const circumstances = { env: systemEnv({ id: randomUUID }), logger: silentLogger, connections: 6 };

afterAll(() => database?.drop());

describe.skipIf(database === null)("a server's transaction", () => {
  it("a transaction reaches the points of its own operations while another begins and ends", async () => {
    const reached: string[] = [];
    const reach = (point: string) => {
      reached.push(point);
    };
    const { storage } = await openReaching(database?.url ?? "", { ...circumstances, reach });
    const child = queuedRun(2, { parent: { id: runId(1), address: "child/1" } });
    try {
      await storage.transaction(async (outer) => {
        await outer.insert([queuedRun(1)]);
        await storage.transaction(async (inner) => {
          await inner.insert([child]);
        });
        await outer.save({ changes: [], holds: [], entries: [returnedEntry(runId(1), 1)] });
      });
    } finally {
      await storage.close();
    }
    const both = (stage: string) => [`start.${stage}`, `record.${stage}`];
    expect(reached).toEqual([
      "start.writing",
      ...["child.writing", "child.committing", "child.committed"],
      ...["writing", "written-in-part", "committing", "committed"].flatMap(both),
    ]);
  });
});
