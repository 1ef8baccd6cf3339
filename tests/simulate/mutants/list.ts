/**
 * One-line breaches of the rules. A simulation that does not notice one of them is blind to that rule. News that a
 * suspended run is not told of are no such breach: the engine looks again and replays it, so `core` tests them. What it
 * meets in one seed of thousands is tested where it is done.
 */

export interface Mutant {
  name: string;
  /** The line of the source that it changes, see `markers.ts`. Several mutants may change the same line. */
  marker: string;
  /** What it replaces in that line, where it must occur once, and by what. */
  from: string;
  to: string;
  /** A seed that killed it once, and is tried first. */
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
  one("anybody may report or renew (R4)", "holder", [
    "run.fence === fence && run.state.session === session",
    "(run.fence >= fence || run.state.session === session)",
  ]),
  one("a claim does not move the fence", "next-fence", ["+ 1", "+ 0"]),
  one("parking ignores what was not seen (R6)", "inbox-seen", ["run.inbox !== seen", "seen < 0"]),
  one("an elapsed wait takes a running run from its worker", "lease-ended", [
    "state.leaseUntil <= now",
    "state.leaseUntil <= now || elapsed",
  ]),
  one("a deadline of zero wins over an event that is there", "event-or-deadline", [
    "value ??",
    'durationMs === 0 ? { type: "elapsed" } : value ??',
  ]),
  one("a timer is early", "timer-due", ["<= now", "<= now + 500"], 427),
  one("an event reaches a run that has ended (R2)", "receive-after-end", [
    "isFinal(run.state)",
    'isFinal(run.state) && arrival.type === "child"',
  ]),
  one("a cancelled run forgets that it has ended (R2)", "cancel-after-end", [
    "isFinal(run.state)",
    'run.state.status === "failed"',
  ]),
  one("crashes are not counted (R9)", "crash-count", ["? 1", "? 0"]),
  one("crashes are never forgotten (R9)", "crash-reset", ['!== "release"', '=== "finish"']),
  one("a parent is not told of its child's end", "child-ended", [
    "parent !== null",
    'parent !== null && outcome.status !== "cancelled"',
  ]),
  one("orphans go on", "children-of-ended", ["childrenAtOnce", "0"]),
  one("waits of a failed attempt stay open", "retry-closes-waits", ["waits: [], ", ""], 46),
  one("an event with a reference counts twice", "arrival-address", ["referenceId ?? ", ""]),
  one("a refusal rests on a cached row", "refusal-proven", [
    "isUnproven || isFromCaller(command)",
    'isUnproven && command.type === "tick"',
  ]),
  one("a retried run reuses too little", "start-recorded", ["> 0", "< 0"], 38),
  one("the same report counts twice", "same-report", ["=== report.reportId", '=== ""']),
  one("an effect begins before what was seen is recorded", "effect-begins", ["isRecorded && ", ""]),
  one("a ghost's effects begin", "effect-begins", [" && this.host.mayBegin()", ""], 563),
  one("values are delivered in another order than recorded", "delivery-order", ["seq: Math", "seq: -Math"]),
  one("a value is delivered before it is recorded, though others are open", "only-open-call", [
    "open !== 1",
    "open < 1",
  ]),
  one("a try begins before the failure of the one before is recorded", "short-retry", ["< holdBelowMs", "< 0"]),
  one("a lease is believed in though it ended long ago", "lease-proven", ["< (", "< 20 * ("], 307),
  one("code that does not fit begins new calls", "new-calls-begin", [" || this.journal.expected.size > 0", ""], 32),
  one("a replay does not wait for recorded calls", "relax-after", ["< limits.relaxMs", "< 0"], 18),
  one("a value is delivered before what was asked before it", "ask-order", ["!this.callWait", "this.callWait"], 18),
  one(
    "all alike calls are of one branch",
    "branch",
    ["besideOf(from.branch) : from.branch", "besideOf(this.root.branch) : this.root.branch"],
    174,
  ),
  one("alike calls that follow one delivery are not told apart", "alike-count", ["+= 1", "= 1"]),
  one(
    "calls that nothing tells apart are not refused",
    "clash",
    ["clash !== null", 'clash !== null && made.content === ""'],
    2,
  ),
  one("a call with a key is not found without it", "found-without-key", [" ?? this.#withoutKey(made)", ""], 35),
  one("a value that is reused is not recorded", "reused", [
    'settle(call, { address, value: { type: "reused", seq } }, value)',
    "deliveries.later(call, seq, value)",
  ]),
  one("a wait that was given up keeps its event", "give-back", ["arrivals", "arrivals.slice(0, 0)"], 1181),
  one("what is withdrawn may still take an event", "withdrawn-wait", ["< waits.length", "< 0"], 173),
  one("a claim without an answer is forgotten", "lost-claim", ["{ repeats: [...repeats] }", "{}"], 90),
  one("a watch believes a cached row that says that a run is lost", "lost-run", [" || mayBeStale(run, item)", ""], 54),
  one("storage writes over a row that has moved on", "revision", ["?.revision === revision", " !== undefined"]),
  one("storage keeps what a failed transaction wrote", "undo", ["transaction.undo()", "void transaction"]),
];
