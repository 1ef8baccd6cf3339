import { AikiError, isAikiError } from "@aikirun/lib";
import { DatabaseError } from "pg";

type Explanation = [code: string, advice: string];

const unreachable: Explanation = [
  "STORAGE_UNAVAILABLE",
  "the connection is lost or cannot be made. Whether a commit under way was carried out is not known; ask again.",
];

/** A kept statement answers in another form than when it was planned: a column was added meanwhile. */
const outdated = "0A000";

/** By SQLSTATE, else by its class: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const explanations: Readonly<Record<string, Explanation>> = {
  "40001": ["STORAGE_CONFLICT", "another transaction was in the way. Nothing was recorded; decide again."],
  [outdated]: ["STORAGE_CONFLICT", "the schema has changed under a statement that was kept. Decide again."],
  "40P01": ["STORAGE_CONFLICT", "two transactions waited for one another. Nothing was recorded; decide again."],
  "22012": ["STORAGE_CONFLICT", "a row is not as it was. Nothing was recorded; decide again."],
  "23505": ["STORAGE_CONFLICT", "a key is taken. Nothing was recorded; decide again."],
  "55P03": ["STORAGE_BUSY", "somebody holds a row or table locked. Look for long transactions in pg_stat_activity."],
  "57014": ["STORAGE_BUSY", "a statement took too long and was ended. Look at the load of the database."],
  "25006": ["STORAGE_READ_ONLY", "it takes no writes. Connect to the primary, not to a standby."],
  "53100": ["STORAGE_FULL", "its disk is full. Nothing was recorded; free some space and go on."],
  "58030": ["STORAGE_IO", "its disk failed to read or write. Check the disk before going on."],
  XX001: ["STORAGE_CORRUPT", "its files are damaged. Stop, keep a copy of them, and restore a backup."],
  XX002: ["STORAGE_CORRUPT", "an index is damaged. Stop, keep a copy of the files, and rebuild or restore."],
  "25P03": unreachable,
  "25P04": unreachable,
  "3D000": ["STORAGE_REFUSED", "there is no such database. Create it, or check the url."],
  "42501": [
    "STORAGE_REFUSED",
    "the role may not do this. Let its owner run `aiki migrate`, and grant what is missing.",
  ],
};

const classes: Readonly<Record<string, Explanation>> = {
  "08": unreachable,
  "28": ["STORAGE_REFUSED", "it does not accept the user or the password. Check the url."],
  "53": [
    "STORAGE_UNAVAILABLE",
    "it is out of connections or memory. Lower the servers' connections or raise its limits.",
  ],
  "57": unreachable,
};

/** What the driver threw, as an error with a stable code that says what to do; anything else comes back as it is. */
export function explainFailure(thrown: unknown, place: string): unknown {
  if (isAikiError(thrown)) return thrown;
  const [code, advice] = explain(thrown);
  return new AikiError(code, `PostgreSQL at ${place}: ${advice}${symptomOf(thrown)}`, {
    cause: thrown,
    ids: { place },
  });
}

/** What the network or PostgreSQL called it. */
function symptomOf(thrown: unknown): string {
  const hasCode = typeof thrown === "object" && thrown !== null && "code" in thrown && typeof thrown.code === "string";
  return hasCode ? ` (${thrown.code})` : "";
}

/** Whether the connection still serves: its transaction is open though failed, and what it keeps is not outdated. */
export function isHarmless(thrown: unknown): boolean {
  return thrown instanceof DatabaseError && thrown.severity === "ERROR" && thrown.code !== outdated;
}

function explain(thrown: unknown): Explanation {
  const state = thrown instanceof DatabaseError ? thrown.code : undefined;
  if (state === undefined) return unreachable;
  const known = explanations[state] ?? classes[state.slice(0, 2)];
  return (
    known ?? [
      "STORAGE_FAILED",
      `it failed unexpectedly. This is a fault of Aiki unless the schema was changed by hand.`,
    ]
  );
}
