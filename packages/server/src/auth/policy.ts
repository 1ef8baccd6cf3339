/** The scopes that each verb needs. The code does not compile if a verb, a signal type or a watched type is missing. */

import type { RequestOf, Scope, Signal, Verb, Watched } from "@aikirun/lib/protocol";

interface Policy<Request> {
  /** Any one of these opens the verb, before its body is read. */
  opens: readonly Scope[];
  /** The scopes that the items need in addition; the key must have all of them. */
  needs(request: Request): Iterable<Scope>;
}

const noScopes = (): Scope[] => [];

/** A worker may read its runs, but neither the list of workers nor why a run does not move. */
const readScopes = ({ workers, why }: RequestOf<"read">): Scope[] =>
  workers === true || why !== undefined ? ["runs:read"] : [];

const policies: { readonly [V in Verb]: Policy<RequestOf<V>> } = {
  start: { opens: ["runs:start"], needs: noScopes },
  claim: { opens: ["workers:run"], needs: noScopes },
  report: { opens: ["workers:run"], needs: noScopes },
  renew: { opens: ["workers:run"], needs: noScopes },
  // Each signal is checked separately, because clients batch the signals of many callers.
  signal: { opens: ["events:send", "runs:control"], needs: noScopes },
  watch: {
    opens: ["runs:read", "workers:run"],
    needs: ({ watched }) => new Set(watched.map(watchedScope)),
  },
  find: { opens: ["runs:read"], needs: noScopes },
  // A worker reads the rest of a journal that was too long for its claim.
  read: { opens: ["runs:read", "workers:run"], needs: readScopes },
};

/** The scopes of which the key needs one to call the verb; none if the key may call it. */
export function lackingForVerb(granted: ReadonlySet<Scope>, verb: Verb): readonly Scope[] {
  const { opens } = policies[verb];
  return opens.some((scope) => allows(granted, scope)) ? [] : opens;
}

/** The scopes that the items of a request need and the key lacks. */
export function lackingForItems<V extends Verb>(granted: ReadonlySet<Scope>, verb: V, request: RequestOf<V>): Scope[] {
  const policy: Policy<RequestOf<V>> = policies[verb];
  return [...policy.needs(request)].filter((scope) => !allows(granted, scope));
}

/** The scopes of which the key needs one to read metrics; none if it has one. */
export function lackingForScrape(granted: ReadonlySet<Scope>): readonly Scope[] {
  const opens: readonly Scope[] = ["metrics:read", "runs:read"];
  return opens.some((scope) => allows(granted, scope)) ? [] : opens;
}

/** Whether the key may read the metrics of all namespaces. The scope `admin` is limited to the namespace of the key. */
export function seesAllNamespaces(granted: ReadonlySet<Scope>): boolean {
  return granted.has("metrics:read");
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
