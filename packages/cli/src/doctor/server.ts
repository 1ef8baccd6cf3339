import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { describeError, isRecord } from "@aikirun/lib/internal";
import type { Finding } from "@aikirun/server";
import type { ClockOffset } from "./machine.ts";

/** What was found about a server. */
export interface ServerCheck {
  findings: Finding[];
  isReachable: boolean;
  /** Null if the server did not send its time. */
  clock: ClockOffset | null;
}

/** How long a server may take to answer. Milliseconds. */
const withinMs = 5_000;
/** The header `date` of a reply has whole seconds, rounded down. Milliseconds. */
const dateStepMs = 1_000;

const subject = "server";

/**
 * Asks a server whether it is ready. `isGiven`: the user named the url, so a server must be there. Throws
 * `INVALID_CONFIG` for an invalid url.
 */
export async function checkServer(url: string, isGiven: boolean): Promise<ServerCheck> {
  await (await client({ url, logger: silentLogger })).close();
  const sentAt = Date.now();
  try {
    const response = await fetch(new URL("health/ready", url.endsWith("/") ? url : `${url}/`), {
      signal: AbortSignal.timeout(withinMs),
    });
    const clock = clockOf(response.headers.get("date"), sentAt, Date.now());
    const body: unknown = await response.json().catch(() => null);
    return { findings: [readiness(url, response.status, body)], isReachable: true, clock };
  } catch (thrown) {
    const message = `No server answers at ${url} (${reasonOf(thrown)}).`;
    const remedy = "Start one with aiki server, or name its address with --url or AIKI_URL.";
    return {
      findings: [{ subject, level: isGiven ? "error" : "warning", message, remedy }],
      isReachable: false,
      clock: null,
    };
  }
}

function readiness(url: string, status: number, body: unknown): Finding {
  if (status === 503) {
    const message = `The server at ${url} runs, but it cannot write to its database now.`;
    return { subject, level: "error", message, remedy: "Check the database, and the log of the server." };
  }
  if (!isRecord(body) || body.status !== "ready") {
    const message = `What answers at ${url} is not a server of Aiki (status ${status}).`;
    return { subject, level: "error", message, remedy: "Check --url or AIKI_URL." };
  }
  return { subject, level: "ok", message: `The server at ${url} is ready.` };
}

function clockOf(date: string | null, sentAt: number, receivedAt: number): ClockOffset | null {
  const at = Date.parse(date ?? "");
  if (Number.isNaN(at)) return null;
  return {
    aheadMs: at + dateStepMs / 2 - (sentAt + receivedAt) / 2,
    uncertaintyMs: dateStepMs / 2 + (receivedAt - sentAt) / 2,
  };
}

/** The reason is in the cause of the error that `fetch` throws. */
function reasonOf(thrown: unknown): string {
  const cause = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown;
  const inner = cause instanceof AggregateError ? cause.errors[0] : cause;
  return describeError(inner).message;
}
