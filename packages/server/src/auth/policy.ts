/** What each verb needs. A verb, a kind of signal or of watching that is missing here does not compile. */

import type { RequestOf, Scope, Signal, Verb, Watched } from "@aikirun/lib/protocol";

interface Policy<Request> {
  /** Any one of these opens the verb, before its body is read. */
  opens: readonly Scope[];
  /** What the items need besides, all of it. */
  needs(request: Request): Iterable<Scope>;
}

const nothing = (): Scope[] => [];

const policies: { readonly [V in Verb]: Policy<RequestOf<V>> } = {
  start: { opens: ["runs:start"], needs: nothing },
  claim: { opens: ["workers:run"], needs: nothing },
  report: { opens: ["workers:run"], needs: nothing },
  renew: { opens: ["workers:run"], needs: nothing },
  // Each signal is judged by itself: clients send those of many callers together.
  signal: { opens: ["events:send", "runs:control"], needs: nothing },
  watch: {
    opens: ["runs:read", "workers:run"],
    needs: ({ watched }) => new Set(watched.map(watchedScope)),
  },
  find: { opens: ["runs:read"], needs: nothing },
  // A worker reads the rest of a journal that was too long for its claim.
  read: { opens: ["runs:read", "workers:run"], needs: ({ workers }) => (workers === true ? ["runs:read"] : []) },
};

/** Those of which one is lacking for the verb to be open at all; none when it is open. */
export function lackingForVerb(granted: ReadonlySet<Scope>, verb: Verb): readonly Scope[] {
  const { opens } = policies[verb];
  return opens.some((scope) => allows(granted, scope)) ? [] : opens;
}

/** Those that some item of a request needs, and that are not granted. */
export function lackingForItems<V extends Verb>(granted: ReadonlySet<Scope>, verb: V, request: RequestOf<V>): Scope[] {
  const policy: Policy<RequestOf<V>> = policies[verb];
  return [...policy.needs(request)].filter((scope) => !allows(granted, scope));
}

export function allows(granted: ReadonlySet<Scope>, scope: Scope): boolean {
  return granted.has(scope) || granted.has("admin");
}

export function signalScope(signal: Signal): Scope {
  switch (signal.type) {
    case "event":
      return "events:send";
    case "cancel":
    case "pause":
    case "resume":
    case "wake":
    case "retry":
      return "runs:control";
    default:
      return signal satisfies never;
  }
}

function watchedScope(watched: Watched): Scope {
  switch (watched.type) {
    case "status":
      return "runs:read";
    case "changes":
      return "workers:run";
    default:
      return watched satisfies never;
  }
}
