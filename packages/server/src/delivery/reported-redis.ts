import type { Env } from "@aikirun/lib";
import { type RedisParams, type RedisRefusal, redisConnector } from "@aikirun/redis";

/** How long Redis may take to answer. Milliseconds. */
const withinMs = 3_000;

/** The answer of Redis to `INFO`, by field; or why there is none. */
export type ReportedRedis = { ok: true; fields: ReadonlyMap<string, string> } | RedisRefusal;

/** Asks Redis for its version and its settings. Never rejects. */
export async function readRedis(params: Readonly<RedisParams>, env: Env): Promise<ReportedRedis> {
  const connector = redisConnector(params, env);
  try {
    const connecting = await connector.connect(withinMs);
    if (!connecting.ok) return connecting;
    const answer = await connecting.connection.send(["info"], withinMs);
    return answer.ok ? { ok: true, fields: fieldsOf(String(answer.value)) } : answer;
  } finally {
    connector.close();
  }
}

function fieldsOf(text: string): Map<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(":") && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}
