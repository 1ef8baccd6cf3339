import type { Env } from "@aikirun/lib";
import { type Keys, keyOf, newKeyColumns, type StoredKey } from "../keys.ts";
import type { Row } from "../row.ts";
import { toText } from "../text.ts";
import type { Connection } from "./connection.ts";
import * as sql from "./statements.ts";

/** Each statement is its own transaction. `inTurn` runs one function at a time. */
export function sqliteKeys(
  connection: Connection,
  env: Pick<Env, "now">,
  inTurn: <T>(work: () => Promise<T>) => Promise<T>,
): Keys {
  return {
    insert: (key) => inTurn(async () => keyOrNull(connection.first(sql.insertKey, ...newKeyColumns(key, env.now())))),
    load: (ids) =>
      inTurn(async () => {
        const rows = [...new Set(ids)].map((id) => connection.first(sql.selectKey, toText(id)));
        return { now: env.now(), keys: rows.flatMap((row) => keyOrNull(row) ?? []) };
      }),
    list: (after, limit) =>
      inTurn(async () => connection.all(sql.selectKeys, after === null ? "" : toText(after), limit).map(keyOf)),
    revoke: (id) => inTurn(async () => keyOrNull(connection.first(sql.revokeKey, env.now(), toText(id)))),
    touch: (ids) =>
      inTurn(async () => {
        for (const id of ids) connection.run(sql.touchKey, env.now(), toText(id));
      }),
  };
}

function keyOrNull(row: Row | undefined): StoredKey | null {
  return row === undefined ? null : keyOf(row);
}
