import type { ReportedRedis } from "../delivery/reported-redis.ts";
import { type Finding, findingsOf } from "./finding.ts";

const { ok, warning, error } = findingsOf("redis");

/** What to think of a Redis. `at`: its host and port. */
export function redisFindings(reported: ReportedRedis, at: string): Finding[] {
  if (!reported.ok) {
    if (reported.code === "NOPERM")
      return [ok(`Redis at ${at} is reachable. Its user may not read its settings (INFO).`)];
    const remedy =
      reported.code === "UNREACHABLE"
        ? "Check the url, the network and that Redis is running. Without it, workers find runs by long polls."
        : "Check the user and the password in the url.";
    return [error(`Redis at ${at} cannot be used: ${reported.message}.`, remedy)];
  }
  return [versionFinding(reported.fields, at), evictionFinding(reported.fields), persistenceFinding(reported.fields)];
}

function versionFinding(fields: ReadonlyMap<string, string>, at: string): Finding {
  const valkey = fields.get("valkey_version");
  const redis = fields.get("redis_version") ?? "unknown";
  if (valkey !== undefined) return ok(`Valkey ${valkey} at ${at} is reachable.`);
  const [major = 0, minor = 0] = redis.split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 2)
    ? ok(`Redis ${redis} at ${at} is reachable.`)
    : error(`Redis at ${at} is version ${redis}, and Aiki needs 6.2 or newer.`, "Upgrade Redis.");
}

function evictionFinding(fields: ReadonlyMap<string, string>): Finding {
  const policy = fields.get("maxmemory_policy") ?? "unknown";
  return policy === "noeviction"
    ? ok("maxmemory-policy is noeviction.")
    : warning(
        `maxmemory-policy is ${policy}: a full Redis removes wake-ups silently, and workers find runs up to 5 s late.`,
        "Set maxmemory-policy noeviction.",
      );
}

/** Redis holds nothing that the database lacks, so persistence is never needed. */
function persistenceFinding(fields: ReadonlyMap<string, string>): Finding {
  const isOn = fields.get("aof_enabled") === "1";
  return ok(`appendonly is ${isOn ? "on" : "off"}. Aiki does not need it: no run is stored in Redis.`);
}
