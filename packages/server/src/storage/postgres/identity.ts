/**
 * Detects that the database was replaced. A promoted standby begins a new timeline, another cluster has another system
 * identifier, and a table restored from a dump has another oid: such a database may lack acknowledged commits. So the
 * servers record the identity of the database in it, and compare. When the identity differs, the first server that
 * notices raises the fence floor, which voids all fences that may have been issued. The other servers read it.
 */

import { AikiError, type Logger } from "@aikirun/lib";
import { type Client, DatabaseError, type PoolClient } from "pg";
import { numberOf, type Row, textOf } from "../row.ts";
import { isReadOnly, readOnly } from "./connect.ts";
import type { Session } from "./session.ts";

/** SQL: the identity of the database as one text; null on a standby, which has no timeline of its own. */
const database = `
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE format(
    'system %s, timeline %s, table %s',
    (SELECT system_identifier FROM pg_control_system()),
    ltrim(left(pg_walfile_name(pg_current_wal_lsn()), 8), '0'),
    to_regclass('aiki.run')::oid
  ) END`;

/** SQL: used instead when the identity cannot be read. */
const unknown = "NULL::text";

function select(actual: string): string {
  return `
  SELECT ${isReadOnly} AS read_only, ${actual} AS actual, noted.database AS noted, noted.fence_floor
  FROM (SELECT true) AS one
  LEFT JOIN aiki.identity AS noted ON noted.single`;
}

/**
 * Records the identity unless another server has. The fence floor becomes the time in epoch milliseconds: a run is not
 * claimed a thousand times in a second, so every fence issued before is below it, even if its commit was lost. The
 * floor also rises above the one that the server knows ($1), which may be lost too. The same happens if the row is
 * missing. If no identity was recorded and the server knows no floor ($1 is -1), no commits were lost.
 */
const note = `
  INSERT INTO aiki.identity AS noted (database, fence_floor)
  SELECT actual.database, greatest($1::bigint + 1000000, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
  FROM (SELECT ${database} AS database) AS actual
  WHERE actual.database IS NOT NULL
  ON CONFLICT (single) DO UPDATE
  SET
    database = excluded.database,
    fence_floor = CASE
      WHEN noted.database IS NULL AND $1 < 0 THEN noted.fence_floor
      ELSE greatest(noted.fence_floor + 1000000, excluded.fence_floor)
    END
  WHERE noted.database IS DISTINCT FROM excluded.database
  RETURNING database, fence_floor, (SELECT count(*) FROM aiki.run WHERE status = 'running') AS held`;

/** SQLSTATEs of a service that does not allow these functions, or does not have them. */
const withheld: ReadonlySet<string | undefined> = new Set(["42501", "42883", "0A000", "55000"]);

/** Thrown when the database has another identity than the recorded one. The caller calls `note` and starts again. */
export class IdentityMismatch extends Error {
  readonly noted: string | null;
  constructor(noted: string | null) {
    super("The identity recorded in PostgreSQL is that of another database.");
    this.noted = noted;
  }
}

export interface IdentityOptions {
  /** See `canReadIdentity`. */
  isReadable: boolean;
  place: string;
  logger: Logger | undefined;
  /** Called when the fence floor has risen: older connections may lead to a former primary. */
  onFenceFloorRise: (client: PoolClient | null) => void;
}

/** Compares the identity of the database, and caches its fence floor. */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #select: string;
  /** The fence floor that each connection has read. */
  readonly #found = new WeakMap<PoolClient, number>();
  #fenceFloor: number | null = null;

  constructor(options: IdentityOptions) {
    this.#options = options;
    this.#select = select(options.isReadable ? database : unknown);
  }

  /** The fence floor that was last read. */
  get fenceFloor(): number {
    return this.#fenceFloor ?? 0;
  }

  /** Checks a connection once, because it always leads to the same PostgreSQL server. Throws what `check` throws. */
  async checkOnce(client: PoolClient, session: Session): Promise<void> {
    session.fenceFloor = this.#found.get(client) ?? (await this.check(session, client)).fenceFloor;
    this.#found.set(client, session.fenceFloor);
  }

  /**
   * Reads the identity and sets the fence floor of the session. Throws `IdentityMismatch`, and `STORAGE_READ_ONLY` for
   * a standby and for a former primary.
   */
  async check(session: Session, client: PoolClient | null = null): Promise<Session> {
    const [row = {}] = await session.rows(this.#select);
    const { place, isReadable } = this.#options;
    if (row.read_only === true) throw readOnly(place);
    if (isReadable && row.noted !== row.actual)
      throw new IdentityMismatch(row.noted === null ? null : textOf(row, "noted"));
    session.fenceFloor = row.fence_floor === null ? 0 : numberOf(row, "fence_floor");
    this.#learn(session.fenceFloor, client);
    return session;
  }

  /** Voids the fences, unless another server has already done so. */
  async note(session: Session, noted: string | null): Promise<void> {
    const [row] = await session.rows(note, [this.#fenceFloor ?? -1]);
    if (row === undefined || numberOf(row, "fence_floor") === 0) return;
    const { place, logger } = this.#options;
    logger?.warn(
      "PostgreSQL was replaced and may have lost commits: fences given out before are void, and runs that were held " +
        "go on when their leases end",
      {
        place,
        databaseBefore: noted,
        databaseNow: row.database,
        fenceFloor: numberOf(row, "fence_floor"),
        held: numberOf(row, "held"),
      },
    );
  }

  #learn(fenceFloor: number, client: PoolClient | null): void {
    const { place, logger, onFenceFloorRise } = this.#options;
    const before = this.#fenceFloor;
    if (before !== null && fenceFloor < before) throw formerPrimary(place);
    this.#fenceFloor = fenceFloor;
    if (before === null || fenceFloor === before) return;
    logger?.warn("the fence floor of PostgreSQL rose, because it was replaced: the caches of runs are cleared", {
      place,
      fenceFloor,
    });
    onFenceFloorRise(client);
  }
}

/** Whether the identity can be read. If not, logs a warning: lost commits will not be detected. */
export async function canReadIdentity(client: Client, place: string, logger: Logger | undefined): Promise<boolean> {
  try {
    await client.query<Row>(`SELECT ${database} AS actual`);
    return true;
  } catch (thrown) {
    if (!(thrown instanceof DatabaseError && withheld.has(thrown.code))) throw thrown;
    logger?.warn(
      "PostgreSQL hides its system identifier or timeline: a failover that loses commits is not noticed. After " +
        "one, stop all servers and workers, raise aiki.identity.fence_floor as docs/production.md says, and start them",
      { place, reason: thrown.message },
    );
    return false;
  }
}

function formerPrimary(place: string): AikiError {
  return new AikiError(
    "STORAGE_READ_ONLY",
    `PostgreSQL at ${place} is a former primary: its fence floor is lower than that of the database that this server ` +
      "used before. Connect to the current primary. If this one was restored on purpose, restart the server.",
    { ids: { place } },
  );
}
