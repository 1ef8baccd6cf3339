import type { PostgresSettings } from "../storage/postgres/settings.ts";
import { type Finding, findingsOf } from "./finding.ts";
import { schemaFinding } from "./schema.ts";

/** How servers send notifications to each other. */
export interface NotificationPaths {
  /** Whether there is a url for `LISTEN` that does not lead through the pooler. */
  hasDirectUrl: boolean;
  hasRedis: boolean;
}

const oldestVersion = 140_000;

const { ok, warning, error } = findingsOf("database");

/** What to think of a PostgreSQL. */
export function postgresFindings(found: PostgresSettings, paths: NotificationPaths): Finding[] {
  return [
    versionFinding(found),
    ...(found.encoding === "UTF8"
      ? []
      : [error(`Its encoding is ${found.encoding}.`, "Create the database with the encoding UTF8.")]),
    ...(found.isReadOnly
      ? [error("It takes no writes: it is a standby, or read-only by default.", "Connect to the primary.")]
      : []),
    schemaFinding(found.schema),
    ...durabilityFindings(found.settings),
    ...poolingFindings(found.pooling, paths),
  ];
}

function versionFinding({ version, versionNumber }: PostgresSettings): Finding {
  return versionNumber < oldestVersion
    ? error(`It is PostgreSQL ${version}, and Aiki needs 14 or newer.`, "Upgrade PostgreSQL.")
    : ok(`PostgreSQL ${version} is reachable.`);
}

/** Settings with which data is lost, or a text is not stored as it is. */
function durabilityFindings({
  fsync,
  full_page_writes: fullPageWrites,
  synchronous_commit: synchronousCommit,
  synchronous_standby_names: standbys,
  array_nulls: arrayNulls,
}: PostgresSettings["settings"]): Finding[] {
  const findings: Finding[] = [];
  if (fsync === "off") {
    findings.push(
      error("fsync is off: a crash of the machine can damage the database.", "Set fsync = on, and restart PostgreSQL."),
    );
  }
  if (fullPageWrites === "off") {
    findings.push(
      error(
        "full_page_writes is off: a crash of the machine can damage pages of the database.",
        "Set full_page_writes = on, unless the file system writes whole pages (as ZFS does).",
      ),
    );
  }
  if (synchronousCommit === "off") {
    findings.push(
      error(
        "synchronous_commit is off: what Aiki has acknowledged may be lost when PostgreSQL crashes.",
        "Set synchronous_commit = on for the role or the database.",
      ),
    );
  }
  if (synchronousCommit === "local" && standbys !== "") {
    findings.push(
      warning(
        "synchronous_commit is local: commits do not wait for the standbys that synchronous_standby_names lists.",
        "Set synchronous_commit = on, or a failover may lose what Aiki has acknowledged.",
      ),
    );
  }
  if (arrayNulls === "off") {
    findings.push(error("array_nulls is off, which turns nulls into text.", "Set array_nulls = on for the role."));
  }
  return findings.length > 0 ? findings : [ok("Its settings lose no acknowledged commit in a crash.")];
}

function poolingFindings(
  pooling: PostgresSettings["pooling"],
  { hasDirectUrl, hasRedis }: NotificationPaths,
): Finding[] {
  if (pooling === "none") return [];
  const pooler = pooling === "transaction_mode" ? "a pooler in transaction mode" : "a pooler";
  if (hasDirectUrl || hasRedis) return [ok(`The connection leads through ${pooler}, which Aiki supports.`)];
  return [
    warning(
      `The connection leads through ${pooler}, so servers cannot notify each other with LISTEN. ` +
        "They find the changes of others once a second.",
      "Set AIKI_DATABASE_DIRECT to a url without the pooler, or AIKI_REDIS.",
    ),
  ];
}
