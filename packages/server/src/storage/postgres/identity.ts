/**
 * Which database this is. A standby that is promoted begins a timeline, another cluster has another system identifier,
 * and a table that a dump created again has another oid: the database may then lack commits that were acknowledged.
 * So the servers note in the database which one it is, and compare. When it is another one, the first server that
 * notices makes void all fences that may have been given out, and the others find that.
 */

import { AikiError, type Logger } from "@aikirun/lib";
import { type Client, DatabaseError, type PoolClient } from "pg";
import { numberOf, type Row, textOf } from "../row.ts";
import { isReadOnly, readOnly } from "./connect.ts";
import type { Session } from "./session.ts";

/** SQL: the database as one text; null on a standby, which has no timeline of its own. */
const database = `
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE format(
    'system %s, timeline %s, table %s',
    (SELECT system_identifier FROM pg_control_system()),
    ltrim(left(pg_walfile_name(pg_current_wal_lsn()), 8), '0'),
    to_regclass('aiki.run')::oid
  ) END`;

/** SQL for where that cannot be told. */
const unknown = "NULL::text";

function select(actual: string): string {
  return `
  SELECT ${isReadOnly} AS read_only, ${actual} AS actual, noted.database AS noted, noted.fence_floor
  FROM (SELECT true) AS one
  LEFT JOIN aiki.identity AS noted ON noted.single`;
}

/**
 * Notes the database unless another server has. The fence floor becomes the time in epoch milliseconds: a run is not
 * claimed a thousand times in a second, so that no fence given out before is above it, whatever was lost. It also rises
 * above the one that the server knows ($1), which may be lost too. Without a row the same is done. A database that was
 * never noted, and of which the server knows nothing ($1 is -1), has lost nothing.
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

/** SQLSTATEs of a service that keeps these functions from its users, or has none of them. */
const withheld: ReadonlySet<string | undefined> = new Set(["42501", "42883", "0A000", "55000"]);

/** Thrown when the database is not the one that is noted: `note` is to be called, then all is begun again. */
export class Unnoted extends Error {
  readonly noted: string | null;
  constructor(noted: string | null) {
    super("The identity that is noted in PostgreSQL is not its own.");
    this.noted = noted;
  }
}

export interface IdentityOptions {
  /** Whether the database tells which one it is: see `tellsIdentity`. */
  isTold: boolean;
  place: string;
  logger: Logger | undefined;
  /** Called when the fence floor has risen: connections that were made before may lead to a former primary. */
  risen: (client: PoolClient | null) => void;
}

/** What a server knows of its database's identity. */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #select: string;
  /** The fence floor that each connection found. */
  readonly #found = new WeakMap<PoolClient, number>();
  #fenceFloor: number | null = null;

  constructor(options: IdentityOptions) {
    this.#options = options;
    this.#select = select(options.isTold ? database : unknown);
  }

  /** The latest that was found. */
  get fenceFloor(): number {
    return this.#fenceFloor ?? 0;
  }

  /** Of a connection that always leads to one server: it is asked once. Throws what `check` throws. */
  async checkOnce(client: PoolClient, session: Session): Promise<void> {
    session.fenceFloor = this.#found.get(client) ?? (await this.check(session, client)).fenceFloor;
    this.#found.set(client, session.fenceFloor);
  }

  /**
   * Asks the database, and tells the session what it found. Throws `Unnoted`, and `STORAGE_READ_ONLY` for a standby and
   * for a former primary.
   */
  async check(session: Session, client: PoolClient | null = null): Promise<Session> {
    const [row = {}] = await session.rows(this.#select);
    const { place, isTold } = this.#options;
    if (row.read_only === true) throw readOnly(place);
    if (isTold && row.noted !== row.actual) throw new Unnoted(row.noted === null ? null : textOf(row, "noted"));
    session.fenceFloor = row.fence_floor === null ? 0 : numberOf(row, "fence_floor");
    this.#learn(session.fenceFloor, client);
    return session;
  }

  /** Makes the fences void, unless another server has by now. */
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
    const { place, logger, risen } = this.#options;
    const before = this.#fenceFloor;
    if (before !== null && fenceFloor < before) throw formerPrimary(place);
    this.#fenceFloor = fenceFloor;
    if (before === null || fenceFloor === before) return;
    logger?.warn("the fence floor of PostgreSQL rose, because it was replaced: the caches of runs are cleared", {
      place,
      fenceFloor,
    });
    risen(client);
  }
}

/** Whether the database tells which one it is. If not, says so once: then nothing notices that commits were lost. */
export async function tellsIdentity(client: Client, place: string, logger: Logger | undefined): Promise<boolean> {
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
      "used before. Connect to the current primary. If this one was restored on purpose, start the server anew.",
    { ids: { place } },
  );
}
