import type { AikiError, Logger } from "@aikirun/lib";
import type { Api, CallOptions, Scope, SignalItem, SignalResult, Verb } from "@aikirun/lib/protocol";
import type { KnownKey } from "./known-keys.ts";
import { type Asked, allows, lackingForItems, signalScope } from "./policy.ts";

export interface Guard {
  logger: Logger;
  /** What to throw when a key lacks scopes. */
  deny: (key: KnownKey, verb: Verb, lacking: readonly Scope[]) => AikiError;
}

type Call<V extends Verb, Reply> = (request: Asked<V>, options?: CallOptions) => Promise<Reply>;

/** The Api of a key's namespace as its holder may use it. Of signals each is refused by itself, else the request. */
export function guarded(api: Api, key: KnownKey, { logger, deny }: Guard): Api {
  const checked = <V extends Verb, Reply>(verb: V, call: Call<V, Reply>): Call<V, Reply> => {
    return async (request, options) => {
      const lacking = lackingForItems(key.granted, verb, request);
      if (lacking.length > 0) throw deny(key, verb, lacking);
      return call(request, options);
    };
  };
  return {
    start: checked("start", (...asked) => api.start(...asked)),
    claim: checked("claim", (...asked) => api.claim(...asked)),
    report: checked("report", (...asked) => api.report(...asked)),
    renew: checked("renew", (...asked) => api.renew(...asked)),
    signal: signalling(api, key, { logger, deny }),
    watch: checked("watch", (...asked) => api.watch(...asked)),
    find: checked("find", (...asked) => api.find(...asked)),
    read: checked("read", (...asked) => api.read(...asked)),
  };
}

function signalling(api: Api, key: KnownKey, { logger, deny }: Guard): Api["signal"] {
  const isAllowed = ({ signal }: SignalItem): boolean => allows(key.granted, signalScope(signal));
  return async ({ signals }, options) => {
    const allowed = signals.filter(isAllowed);
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

/** Who did what to which run, and what came of it; events are news for a run, and stand in its record. */
function audit(logger: Logger, key: KnownKey, { runId, signal }: SignalItem, result: SignalResult | undefined): void {
  if (signal.type === "event") return;
  const outcome = result?.ok === false ? result.code : "ok";
  logger.info("control signal", { signal: signal.type, runId, outcome, keyId: key.id, namespace: key.namespace });
}
