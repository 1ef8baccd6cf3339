/** Fills PostgreSQL with copies of a run as it stands queued, and as it would stand finished. */

import { Client } from "pg";

/** A copied run is due in a day, so that it is only in the way. */
const dayMs = 86_400_000;

export async function fillBacklog(
  url: string,
  { finished, queued }: { finished: number; queued: number },
): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(`
      SELECT attname AS name FROM pg_attribute
      WHERE attrelid = 'aiki.run'::regclass AND attnum > 0 AND NOT attisdropped`);
    const copy = async (count: number, changed: Readonly<Record<string, string>>) => {
      const columns = rows.map(({ name }) => name);
      const values = columns.map((name) => changed[name] ?? `model.${name}`);
      await client.query(`
        INSERT INTO aiki.run (${columns.join()})
        SELECT ${values.join()}
        FROM (SELECT * FROM aiki.run WHERE name = 'fan' ORDER BY id DESC LIMIT 1) AS model
        CROSS JOIN generate_series(1, ${count}) AS n`);
    };
    const id = "lpad(to_hex(n), 8, '0') || substr(gen_random_uuid()::text, 9)";
    const at = `(extract(epoch FROM now()) * 1000)::bigint + ${dayMs}`;
    await copy(finished, { id, status: "'completed'", due_at: "NULL", state: `'{"status":"completed"}'` });
    const state = `'{"status":"queued","held":null,"redeliveries":0,"redeliverAt":' || ${at} || '}'`;
    await copy(queued, { id, name: "'steps'", status: "'queued'", due_at: at, state });
    await client.query("VACUUM ANALYZE aiki.run");
  } finally {
    await client.end();
  }
}
