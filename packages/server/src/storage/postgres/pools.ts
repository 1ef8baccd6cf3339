import type { Logger } from "@aikirun/lib";
import { Pool, type PoolClient } from "pg";
import { settings, timeLimits } from "./connect.ts";
import { explainFailure } from "./failure.ts";

/** A connection is replaced at this age, so that none leads to a former primary for longer. Milliseconds. */
export const maxAgeMs = 300_000;

/** `isDirect`: no pooler is in between, so the connections may keep settings. */
export interface PoolsOptions {
  url: string;
  /** The host, port and name of the database, for errors and logs. */
  place: string;
  /** The maximum number of connections; at least 2. */
  connections: number;
  isDirect: boolean;
  logger?: Logger | undefined;
}

/**
 * Connections to one database. Reads and transactions have separate pools, so that many reads do not delay reports and
 * heartbeats of workers.
 */
export class Pools {
  readonly #place: string;
  readonly #pools: { writing: Pool; reading: Pool };
  /** Every connection, idle or not. */
  readonly #clients = new Set<PoolClient>();
  /** Connections that must not be used again. */
  readonly #retired = new WeakSet<PoolClient>();

  constructor({ url, place, connections, isDirect, logger }: PoolsOptions) {
    this.#place = place;
    const writers = Math.max(1, Math.floor(connections / 3));
    const pool = (max: number): Pool => {
      const limits = isDirect ? timeLimits : {};
      const made = new Pool({ ...settings(url), ...limits, max, maxLifetimeSeconds: maxAgeMs / 1_000 });
      // A connection that dies while idle is replaced by the next caller.
      made.on("error", (error) => logger?.debug("lost an idle connection to PostgreSQL", { error: String(error) }));
      made.on("connect", (client) => {
        this.#clients.add(client);
        // An error event without a listener ends the process. The pool listens only while the connection is idle, and
        // a session begins to listen a moment after the pool lends the connection.
        client.on("error", () => {});
      });
      made.on("remove", (client) => this.#clients.delete(client));
      return made;
    };
    this.#pools = { writing: pool(writers), reading: pool(Math.max(1, connections - writers)) };
  }

  /** Throws `STORAGE_UNAVAILABLE` after 2 s, or `STORAGE_REFUSED`. */
  async checkOut(purpose: "writing" | "reading"): Promise<PoolClient> {
    try {
      for (;;) {
        const client = await this.#pools[purpose].connect();
        if (!this.#retired.has(client)) return client;
        client.release(true);
      }
    } catch (thrown) {
      throw explainFailure(thrown, this.#place, true);
    }
  }

  /**
   * Closes every connection that is open now: an idle one at once, any other instead of lending it again. Does nothing
   * if `failed` was already retired, because newer connections may lead to the right server.
   */
  retire(failed: PoolClient): void {
    if (this.#retired.has(failed)) return;
    for (const client of this.#clients) this.#retired.add(client);
    for (const purpose of ["writing", "reading"] as const) {
      // `checkOut` closes all idle connections. It is not called without one, because it would open a connection.
      if (this.#pools[purpose].idleCount > 0)
        void this.checkOut(purpose).then(
          (client) => client.release(),
          () => {},
        );
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#pools.writing.end(), this.#pools.reading.end()]);
  }
}
