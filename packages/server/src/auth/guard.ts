import type { AikiError, Logger } from "@aikirun/lib";
import { type Api, type Scope, type SignalItem, type SignalResult, type Verb, wrapApi } from "@aikirun/lib/protocol";
import type { KnownKey } from "./known-keys.ts";
import { allows, lackingForItems, signalScope } from "./policy.ts";

export interface Guard {
  logger: Logger;
  /** What to throw when a key lacks scopes. */
  deny: (key: KnownKey, verb: Verb, lacking: readonly Scope[]) => AikiError;
}

/** The Api of a key's namespace, limited to its scopes. Signals are refused one by one, other requests as a whole. */
export function guarded(api: Api, key: KnownKey, { logger, deny }: Guard): Api {
  const checked = wrapApi(api, (verb, call) => async (request, options) => {
    const lacking = lackingForItems(key.granted, verb, request);
    if (lacking.length > 0) throw deny(key, verb, lacking);
    return call(request, options);
  });
  return { ...checked, signal: signalling(api, key, { logger, deny }) };
}

function signalling(api: Api, key: KnownKey, { logger, deny }: Guard): Api["signal"] {
  const isAllowed = ({ signal }: SignalItem): boolean => allows(key.granted, signalScope(signal));
  return async ({ signals }, options) => {
    const allowed = signals.filter(isAllowed).map((item) => ({ ...item, by: key.name }));
    const answered = allowed.length === 0 ? [] : (await api.signal({ signals: allowed }, options)).results;
    for (const [index, item] of allowed.entries()) audit(logger, key, item, answered[index]);
    if (allowed.length === signals.length) return { results: answered };
    const refused = signals.filter((item) => !isAllowed(item));
    const { message } = deny(key, "signal", [...new Set(refused.map(({ signal }) => signalScope(signal)))]);
    const refusal: SignalResult = { ok: false, code: "FORBIDDEN", message };
    let taken = 0;
    return { results: signals.flatMap((item) => (isAllowed(item) ? (answered[taken++] ?? []) : refusal)) };
  };
}

/** Logs control signals: key, run and outcome. Events are not logged, because the journal of the run has them. */
function audit(logger: Logger, key: KnownKey, { runId, signal }: SignalItem, result: SignalResult | undefined): void {
  if (signal.type === "event") return;
  const outcome = result?.ok === false ? result.code : "ok";
  logger.info("control signal", { signal: signal.type, runId, outcome, keyId: key.id, namespace: key.namespace });
}
