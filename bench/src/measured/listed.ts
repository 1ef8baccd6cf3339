/** W8: how long a page of a list of runs takes, for each filter, among many runs. */

import { Client } from "pg";
import { runColumns } from "./backlog.ts";
import { percentile } from "./figures.ts";
import type { Stack } from "./stack.ts";
import { errandV1 } from "./workflows.ts";

export interface Listed {
  /** The number of runs. One in `rarity` matches the rare filters. */
  runs: number;
  rarity: number;
  /** The number of measured pages for each filter. A list that ends is read again from its start. */
  pages: number;
}

type Filter = Parameters<Stack["aiki"]["api"]["find"]>[0];

/** Run number `n` of the copies was created at epoch millisecond `n`. */
function filtersAmong(runs: number): Readonly<Record<string, Filter>> {
  return {
    all: {},
    "oldest first": { order: "oldest" },
    workflow: { name: errandV1.name },
    "a common version": { versionId: errandV1.versionId },
    "a rare version": { name: errandV1.name, versionId: "rare" },
    "a rare shard": { shardKey: "rare" },
    "a shard without runs": { shardKey: "none" },
    "a common status": { status: ["completed"] },
    "a rare status": { status: ["failed"] },
    "several statuses": { status: ["failed", "stalled", "cancelled", "queued", "running"] },
    "an error code": { errorCode: "RARE" },
    "a common tag": { tags: ["common"] },
    "a rare tag": { tags: ["rare"] },
    "a tag without runs": { tags: ["none"] },
    "two tags": { tags: ["common", "rare"] },
    "a reference": { referenceId: "rare-0" },
    "dates in the middle": { createdAfter: Math.floor(runs / 3), createdBefore: Math.ceil(runs / 2) },
    "a common tag in a rare shard": { tags: ["common"], shardKey: "rare" },
    "everything together": {
      name: errandV1.name,
      versionId: "rare",
      shardKey: "rare",
      status: ["failed", "completed"],
      tags: ["rare"],
      errorCode: "RARE",
      createdAfter: Math.floor(runs / 3),
    },
  };
}

const atOnce = 8;

export function listsAmong({ runs, rarity, pages }: Listed): (stack: Stack) => Promise<Record<string, number>> {
  return async ({ aiki, database }) => {
    await errandV1.start(aiki);
    await fill(database, runs, rarity);
    const figures: Record<string, number> = {};
    const read = async (filter: Filter, count: number) => {
      const all: number[] = [];
      let cursor: string | undefined;
      while (all.length < count) {
        const before = performance.now();
        ({ cursor } = await aiki.api.find({ ...filter, ...(cursor === undefined ? {} : { cursor }) }));
        all.push(performance.now() - before);
      }
      return all;
    };
    for (const [name, filter] of Object.entries(filtersAmong(runs))) {
      figures[`W8 ${name}, p99 ms per page`] = percentile(await read(filter, pages), 99);
    }
    const together = Array.from({ length: atOnce }, () => read({ shardKey: "none" }, Math.ceil(pages / atOnce)));
    figures[`W8 a shard without runs, ${atOnce} at once, p99 ms per page`] = percentile(
      (await Promise.all(together)).flat(),
      99,
    );
    return figures;
  };
}

/** Fills the database with copies of its only run. */
async function fill(url: string, runs: number, rarity: number): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const names = await runColumns(client);
    const rare = (then: string, otherwise: string) => `CASE WHEN n % ${rarity} = 0 THEN ${then} ELSE ${otherwise} END`;
    const changed: Readonly<Record<string, string>> = {
      id: "lpad(to_hex(n), 8, '0') || substr(gen_random_uuid()::text, 9)",
      created_at: "n",
      due_at: "NULL",
      version_id: rare("'rare'", "model.version_id"),
      shard_key: rare("'rare'", "NULL"),
      reference_id: rare(`'rare-' || n % ${10 * rarity}`, "NULL"),
      name: rare(`model.name || n / ${10 * rarity}`, "model.name"),
      status: rare("'failed'", "'completed'"),
      error_code: rare("'RARE'", "NULL"),
      tags: rare("'{common,rare}'::text[]", "'{common}'::text[]"),
    };
    await client.query(`
      INSERT INTO aiki.run (${names.join()})
      SELECT ${names.map((name) => changed[name] ?? `model.${name}`).join()}
      FROM (SELECT * FROM aiki.run LIMIT 1) AS model CROSS JOIN generate_series(1, ${runs}) AS n`);
    await client.query("VACUUM ANALYZE aiki.run");
    await client.query("VACUUM ANALYZE aiki.run_tag");
  } finally {
    await client.end();
  }
}
