/**
 * One-line violations of the rules, each of which the simulation must detect. The list omits faults from which the
 * engine recovers by a replay, such as a suspended run that misses a new entry: tests of `core` detect them. It also
 * omits faults that occur in very few seeds: unit tests detect them.
 */

export interface Mutant {
  name: string;
  /** Marks the line of the source that it changes, see `markers.ts`. Several mutants may change the same line. */
  marker: string;
  /** The text that it replaces, which must occur once in that line, and the replacement. */
  from: string;
  to: string;
  /** A seed that detected it before, which is run first. */
  seed: number;
}

const one = (name: string, marker: string, [from, to]: readonly [string, string], seed = 0): Mutant => ({
  name,
  marker,
  from,
  to,
  seed,
});

export const mutants: readonly Mutant[] = [
  one("a former holder may report or renew (R4)", "holder", [
    "run.fence === fence && run.state.session === session",
    "(run.fence >= fence || run.state.session === session)",
  ]),
  one("a claim does not increase the fence", "next-fence", ["+ 1", "+ 0"]),
  one("a run is suspended although its worker has not received an entry (R6)", "inbox-seen", [
    "run.inbox !== seen",
    "seen < 0",
  ]),
  one("an elapsed wait takes a running run from its worker", "lease-ended", [
    "state.leaseUntil <= now",
    "state.leaseUntil <= now || elapsed",
  ]),
  one("a timeout of zero ends a wait whose event has arrived", "event-or-deadline", [
    "value ??",
    'durationMs === 0 ? { type: "elapsed" } : value ??',
  ]),
  one("a timer fires early", "timer-due", ["<= now", "<= now + 500"], 427),
  one("an event reaches a run that has ended (R2)", "receive-after-end", [
    "isFinal(run.state)",
    'isFinal(run.state) && arrival.type === "child"',
  ]),
  one("a cancelled run may be cancelled again (R2)", "cancel-after-end", [
    "isFinal(run.state)",
    'run.state.status === "failed"',
  ]),
  one("crashes are not counted (R9)", "crash-count", ["? 1", "? 0"]),
  one("the count of crashes is never reset (R9)", "crash-reset", ['!== "release"', '=== "finish"']),
  one("the end of a child is not recorded in its parent", "child-ended", [
    "parent !== null",
    'parent !== null && outcome.status !== "cancelled"',
  ]),
  one("children continue after their parent failed", "children-of-ended", ["childrenAtOnce", "0"]),
  one("waits of a failed attempt stay open", "retry-closes-waits", ["waits: [], ", ""], 46),
  one("an event with a reference counts twice", "arrival-address", ["referenceId ?? ", ""]),
  one("a command is refused by a cached row", "refusal-proven", [
    "isUnproven || isFromCaller(command)",
    'isUnproven && command.type === "tick"',
  ]),
  one("a retried run reuses too little", "start-recorded", ["> 0", "< 0"], 38),
  one("the same report counts twice", "same-report", ["=== report.reportId", '=== ""']),
  one("an effect begins before the received values are recorded", "effect-begins", ["isRecorded && ", ""]),
  one("effects of a former holder begin", "effect-begins", [" && this.host.mayBegin()", ""], 563),
  one("values are delivered in another order than recorded", "delivery-order", ["seq: Math", "seq: -Math"]),
  one("a value is delivered before it is recorded although other calls are open", "only-open-call", [
    "open !== 1",
    "open < 1",
  ]),
  one("an attempt begins before the failure of the previous one is recorded", "short-retry", ["< holdBelowMs", "< 0"]),
  one("a worker trusts a lease that has expired", "lease-proven", ["< (", "< 20 * ("], 307),
  one("code that does not fit begins new calls", "new-calls-begin", [" || this.journal.expected.size > 0", ""], 32),
  one("a replay does not wait for recorded calls", "relax-after", ["< limits.relaxMs", "< 0"], 18),
  one(
    "a value is delivered before the calls that preceded it are made",
    "ask-order",
    ["!this.callWait", "this.callWait"],
    18,
  ),
  one(
    "all alike calls have one branch",
    "branch",
    ["besideOf(from.branch) : from.branch", "besideOf(this.root.branch) : this.root.branch"],
    174,
  ),
  one("alike calls that follow one delivery are not distinguished", "alike-count", ["+= 1", "= 1"]),
  one(
    "calls that cannot be distinguished are not refused",
    "clash",
    ["clash !== null", 'clash !== null && made.content === ""'],
    2,
  ),
  one(
    "a call with a key does not match an entry without a key",
    "found-without-key",
    [" ?? this.#withoutKey(made)", ""],
    35,
  ),
  one("a reused value is not recorded", "reused", [
    'settle(call, { address, value: { type: "reused", seq } }, value)',
    "deliveries.later(call, seq, value)",
  ]),
  one("a withdrawn wait keeps its event", "give-back", ["arrivals", "arrivals.slice(0, 0)"], 1181),
  one("a withdrawn wait may receive an event", "withdrawn-wait", ["< waits.length", "< 0"], 173),
  one("a claim without a reply is not repeated", "lost-claim", ["{ repeats: [...repeats] }", "{}"], 90),
  one("a run watch reports a run as lost by a cached row", "lost-run", [" || mayBeStale(run, item)", ""], 54),
  one("storage overwrites a row of a later revision", "revision", ["?.revision === revision", " !== undefined"]),
  one("storage keeps the writes of a failed transaction", "undo", ["transaction.undo()", "void transaction"]),
];
