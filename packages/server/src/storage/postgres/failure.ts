import { AikiError, type ErrorCode, isAikiError } from "@aikirun/lib";
import { DatabaseError } from "pg";

type PostgresAdvice = [code: ErrorCode, advice: string];

const lost: PostgresAdvice = [
  "STORAGE_UNAVAILABLE",
  "the connection was lost. A commit that was under way may have been applied; it is safe to ask again.",
];

const unreachable: PostgresAdvice = [
  "STORAGE_UNAVAILABLE",
  "Aiki cannot connect. Check the host and the port of the url, the network, and that PostgreSQL is running.",
];

/** Failures to connect that have no SQLSTATE, by the error's code or text. */
const connecting: ReadonlyArray<[RegExp, PostgresAdvice]> = [
  [
    /CERT|UNABLE_TO_VERIFY|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/,
    [
      "STORAGE_REFUSED",
      "Aiki does not accept its certificate. Name the authority that signed it with sslrootcert=<file> in the url, " +
        "and connect by a host name that the certificate is for.",
    ],
  ],
  [
    /does not support SSL/,
    ["STORAGE_REFUSED", "it does not offer TLS. Turn ssl on there, or write sslmode=disable in the url."],
  ],
  [/password must be a/, ["STORAGE_REFUSED", "it asks for a password, and the url has none. Add one to the url."]],
  [
    /timeout exceeded when trying to connect/,
    [
      "STORAGE_UNAVAILABLE",
      "within 2 s no connection was free or could be made. Look for slow statements, or allow more connections.",
    ],
  ],
  [/^SASL/, ["STORAGE_REFUSED", "the authentication failed. Check the user and the password in the url."]],
];

const statementMode: PostgresAdvice = [
  "STORAGE_REFUSED",
  "the pooler before it allows no transactions. Set its pool_mode to transaction or session.",
];

/** The columns of a prepared statement have changed since it was planned, because a column was added. */
const outdated = "0A000";

/** By SQLSTATE, else by its class: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const explanations: Readonly<Record<string, PostgresAdvice>> = {
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
  "25P03": lost,
  "25P04": lost,
  "3D000": ["STORAGE_REFUSED", "there is no such database. Create it, or check the url."],
  "42501": [
    "STORAGE_REFUSED",
    "the role lacks a privilege. Grant what docs/production.md lists, and run `aiki migrate` as the owner.",
  ],
};

const classes: Readonly<Record<string, PostgresAdvice>> = {
  "28": [
    "STORAGE_REFUSED",
    "it refuses the login. Check the user and the password in the url, and pg_hba.conf on the server.",
  ],
  "53": [
    "STORAGE_UNAVAILABLE",
    "it is out of connections or memory. Lower the servers' connections or raise its limits.",
  ],
};

/** Of these classes of SQLSTATE, data exceptions and violated constraints, the message may hold what users store. */
const withUserData = /^2[23]/;

/** How much of a message is shown. Characters. */
const longestMessage = 500;

/**
 * Converts an error of the driver to an `AikiError` with a stable code, advice and the driver's message. Returns an
 * `AikiError` as it is. `isConnecting`: the connection was not established yet.
 */
export function explainFailure(thrown: unknown, place: string, isConnecting = false): unknown {
  if (isAikiError(thrown)) return thrown;
  const [code, advice] = explain(thrown, isConnecting);
  return new AikiError(code, `PostgreSQL at ${place}: ${advice}${symptomOf(thrown)}`, {
    cause: thrown,
    ids: { place },
  });
}

/** The code and message of the network or PostgreSQL, to end a sentence. Never a DETAIL: it contains user data. */
function symptomOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return "";
  // If the host has several addresses, the error of the first one.
  const first: unknown = thrown instanceof AggregateError ? thrown.errors[0] : undefined;
  const message = (first instanceof Error ? first : thrown).message.slice(0, longestMessage);
  const code = "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
  if (withUserData.test(code) && thrown instanceof DatabaseError) return ` (${code})`;
  return ` (${[code, message].filter((part) => part !== "").join(": ")})`;
}

/** Whether the connection can be used after a rollback: it is not lost and its statements are not outdated. */
export function isHarmless(thrown: unknown): boolean {
  return thrown instanceof DatabaseError && thrown.severity === "ERROR" && thrown.code !== outdated;
}

function explain(thrown: unknown, isConnecting: boolean): PostgresAdvice {
  const general = isConnecting ? unreachable : lost;
  if (!(thrown instanceof DatabaseError)) {
    const symptom = symptomOf(thrown).slice(" (".length);
    return connecting.find(([pattern]) => isConnecting && pattern.test(symptom))?.[1] ?? general;
  }
  if (/statement pooling/.test(thrown.message)) return statementMode;
  const state = thrown.code ?? "";
  if (/^(08|57)/.test(state) && explanations[state] === undefined) return general;
  return (
    explanations[state] ??
    classes[state.slice(0, 2)] ?? [
      "STORAGE_FAILED",
      "it failed unexpectedly. This is a fault of Aiki unless the schema was changed by hand.",
    ]
  );
}
