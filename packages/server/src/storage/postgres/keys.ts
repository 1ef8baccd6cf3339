import { type Keys, keyOf, newKeyColumns, type StoredKey } from "../keys.ts";
import type { Row } from "../row.ts";
import { toText } from "../text.ts";
import type { Session } from "./session.ts";
import * as sql from "./statements.ts";

/** Runs `work` in one transaction; `now` is the time of its beginning by the database's clock. Epoch milliseconds. */
type Within = <T>(work: (session: Session, now: number) => Promise<T>) => Promise<T>;

/** Uses the connections for writing, so that many readers do not delay the key check of a worker's heartbeat. */
export function postgresKeys(within: Within): Keys {
  return {
    insert: (key) => within(async (session, now) => only(await session.rows(sql.insertKey, newKeyColumns(key, now)))),
    load: (ids) =>
      within(async (session, now) => {
        const rows = await session.rows(sql.selectKey, [[...new Set(ids)].map(toText)]);
        return { now, keys: rows.map(keyOf) };
      }),
    list: (after, limit) =>
      within(async (session) => {
        const rows = await session.rows(sql.selectKeys, [after === null ? "" : toText(after), limit]);
        return rows.map(keyOf);
      }),
    revoke: (id) => within(async (session, now) => only(await session.rows(sql.revokeKey, [now, toText(id)]))),
    touch: (ids) =>
      within(async (session, now) => {
        await session.rows(sql.touchKey, [now, ids.map(toText)]);
      }),
  };
}

function only([row]: Row[]): StoredKey | null {
  return row === undefined ? null : keyOf(row);
}
