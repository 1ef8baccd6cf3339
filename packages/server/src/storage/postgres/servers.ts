import { type Row, textOf } from "../row.ts";
import { serverName, withConnection } from "./connect.ts";
import { explainFailure } from "./failure.ts";
import { placeOf } from "./url.ts";

/**
 * Addresses of the Aiki servers that are connected to the database, as far as the role may see them. Servers whose url
 * sets another application name are not included. Throws `STORAGE_*`.
 */
export async function serversOn(url: string): Promise<string[]> {
  try {
    return await withConnection(url, "limited", async (client) => {
      const { rows } = await client.query<Row>(
        `
        SELECT DISTINCT coalesce(host(client_addr), 'an address that is not shown') AS address
        FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND application_name = $1
        ORDER BY address`,
        [serverName],
      );
      return rows.map((row) => textOf(row, "address"));
    });
  } catch (thrown) {
    throw explainFailure(thrown, placeOf(url));
  }
}
