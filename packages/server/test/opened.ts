import type { Scope, Verb } from "@aikirun/lib/protocol";

/** The scopes of which each verb requires one, as documented. */
export const opened: Readonly<Record<Verb, readonly Scope[]>> = {
  start: ["runs:start"],
  claim: ["workers:run"],
  report: ["workers:run"],
  renew: ["workers:run"],
  signal: ["events:send", "runs:control"],
  watch: ["runs:read", "workers:run"],
  find: ["runs:read"],
  read: ["runs:read", "workers:run"],
};
