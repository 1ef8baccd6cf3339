/** Fills PostgreSQL with copies of a queued run and of a completed run. */

import { Client } from "pg";

/** The copies of a queued run become due so much later than the run, so that no timer acts on them. Milliseconds. */
const dayMs = 86_400_000;

export interface Backlog {
  finished: number;
  queued: number;
}

export async function fillBacklog(url: string, { finished, queued }: Backlog): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const columns = await runColumns(client);
    const changed: Readonly<Record<string, string>> = {
      id: "lpad(to_hex(n), 8, '0') || substr(gen_random_uuid()::text, 9)",
      due_at: `model.due_at + ${dayMs}`,
    };
    const values = columns.map((name) => changed[name] ?? `model.${name}`);
    const copy = async (status: "completed" | "queued", count: number) => {
      const { rowCount } = await client.query(
        `INSERT INTO aiki.run (${columns.join()})
         SELECT ${values.join()}
         FROM (SELECT * FROM aiki.run WHERE status = $1 LIMIT 1) AS model
         CROSS JOIN generate_series(1, ${count}) AS n`,
        [status],
      );
      if (rowCount !== count) throw new Error(`There is no ${status} run to copy.`);
    };
    await copy("completed", finished);
    await copy("queued", queued);
    await client.query("VACUUM ANALYZE aiki.run");
  } finally {
    await client.end();
  }
}

/** The names of the columns of the table of runs. */
export async function runColumns(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(`
    SELECT attname AS name FROM pg_attribute
    WHERE attrelid = 'aiki.run'::regclass AND attnum > 0 AND NOT attisdropped`);
  return rows.map(({ name }) => name);
}
