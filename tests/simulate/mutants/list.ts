/**
 * One-line breaches of the rules. A simulation that does not notice one of them is blind to that rule. News that a
 * suspended run is not told of are no such breach: the engine looks again and replays it, so `core` tests them. What it
 * meets in one seed of thousands is tested where it is done.
 */

import type { Edit } from "./workshop.ts";

export interface Mutant {
  name: string;
  edits: readonly Edit[];
  /** A seed that killed it once, and is tried first. */
  seed: number;
}

const core = "packages/server/src/core";
const engine = "packages/server/src/engine";
const replay = "packages/workflow/src/replay";
const held = "packages/worker/src";

const one = (name: string, file: string, from: string, to: string, seed = 0): Mutant => ({
  name,
  edits: [{ file, from, to }],
  seed,
});

export const mutants: readonly Mutant[] = [
  one(
    "anybody may report or renew (R4)",
    `${core}/claim.ts`,
    'return run.state.status === "running" && run.fence === fence && run.state.session === session;',
    'return run.state.status === "running" && (run.fence >= fence || run.state.session === session);',
  ),
  one("a claim does not move the fence", `${core}/claim.ts`, "moment.fenceFloor) + 1,", "moment.fenceFloor),"),
  one(
    "parking ignores what was not seen (R6)",
    `${core}/report.ts`,
    'if (run.inbox !== seen || run.state.status !== "running") {',
    'if (seen < 0 || run.state.status !== "running") {',
  ),
  one(
    "an elapsed wait takes a running run from its worker",
    `${core}/tick.ts`,
    "} else if (state.leaseUntil <= now) {",
    "} else if (state.leaseUntil <= now || elapsed) {",
  ),
  one(
    "a deadline of zero wins over an event that is there",
    `${core}/report.ts`,
    'recordEnd(next, opened, value ?? { type: "elapsed" });',
    'recordEnd(next, opened, durationMs === 0 ? { type: "elapsed" } : (value ?? { type: "elapsed" }));',
  ),
  one("a timer is early", `${core}/tick.ts`, "wait.until <= now)", "wait.until <= now + 500)", 427),
  one(
    "an event reaches a run that has ended (R2)",
    `${core}/receive.ts`,
    "  if (isFinal(run.state)) {",
    '  if (isFinal(run.state) && arrival.type === "child") {',
  ),
  one(
    "a cancelled run forgets that it has ended (R2)",
    `${core}/signals.ts`,
    '"cancelled") {\n    return decided(next);\n  }\n  if (isFinal(run.state)) {',
    '"cancelled") {\n    return decided(next);\n  }\n  if (run.state.status === "failed") {',
  ),
  one(
    "crashes are not counted (R9)",
    `${core}/claim.ts`,
    "const crashes = next.run.crashes + (confirmed && isLapse ? 1 : 0);",
    "const crashes = next.run.crashes + (confirmed && isLapse ? 0 : 0);",
  ),
  one(
    "crashes are never forgotten (R9)",
    `${core}/report.ts`,
    'if (report.next.type !== "release" && (crashes > 0 || lapses > 0)) {',
    'if (report.next.type === "finish" && (crashes > 0 || lapses > 0)) {',
  ),
  one(
    "a parent is not told of its child's end",
    `${core}/draft.ts`,
    "if (parent !== null) {",
    'if (parent !== null && outcome.status !== "cancelled") {',
  ),
  one(
    "orphans go on",
    `${engine}/work.ts`,
    "const children = await transaction.children(parents, childrenAtOnce);",
    "const children = await transaction.children(parents, 0);",
  ),
  one(
    "waits of a failed attempt stay open",
    `${core}/report.ts`,
    "lastError: error, waits: [], state });",
    "lastError: error, state });",
    46,
  ),
  one(
    "an event with a reference counts twice",
    `${core}/receive.ts`,
    "const address = arrivalAddress(name, referenceId ?? signalId);",
    "const address = arrivalAddress(name, signalId);",
  ),
  one(
    "a refusal rests on a cached row",
    `${engine}/work.ts`,
    ": isUnproven(run) || isAnswered(command);",
    ': isUnproven(run) && command.type === "tick";',
  ),
  one(
    "a retried run recalls too little",
    `${engine}/work.ts`,
    "if (starts.some(({ recall }) => recall !== null && recorded.has(recall))) {",
    "if (starts.some(({ recall }) => recall !== null && recorded.size < 0)) {",
    38,
  ),
  one(
    "the same report counts twice",
    `${core}/report.ts`,
    "if (run.reported?.fence === report.fence && run.reported.reportId === report.reportId) {",
    'if (run.reported?.fence === report.fence && run.reported.reportId === "") {',
  ),
  one(
    "an effect begins before what was seen is recorded",
    `${replay}/pump.ts`,
    "const effect = start && isRecorded && this.host.mayBegin();",
    "const effect = start && this.host.mayBegin();",
  ),
  one(
    "a ghost's effects begin",
    `${replay}/pump.ts`,
    "const effect = start && isRecorded && this.host.mayBegin();",
    "const effect = start && isRecorded;",
    563,
  ),
  one(
    "values are delivered in another order than recorded",
    `${replay}/deliveries.ts`,
    "this.#ready.push({ seq: Math.max(seq, call.askSeq), value, call });",
    "this.#ready.push({ seq: -Math.max(seq, call.askSeq), value, call });",
  ),
  one(
    "a value is delivered before it is recorded, though others are open",
    `${replay}/lone.ts`,
    "this.#deliveries.open !== 1 ||",
    "this.#deliveries.open < 1 ||",
  ),
  one(
    "a try begins before the failure of the one before is recorded",
    `${replay}/perform.ts`,
    "const isShort = retryInMs < holdBelowMs;",
    "const isShort = retryInMs < 0;",
  ),
  one(
    "a lease is believed in though it ended long ago",
    `${held}/leases.ts`,
    "const isProven = (lease: Held) => ageOf(lease) < ",
    "const isProven = (lease: Held) => ageOf(lease) < 20 * ",
    307,
  ),
  one(
    "code that does not fit begins new calls",
    `${replay}/pump.ts`,
    "if (this.beginnings.size === 0 || this.journal.expected.size > 0) return;",
    "if (this.beginnings.size === 0) return;",
    32,
  ),
  one(
    "patience ends at once",
    `${replay}/patience.ts`,
    "if (this.#waitedMs < limits.relaxMs) return true;",
    "if (this.#waitedMs < 0) return true;",
    18,
  ),
  one(
    "a value is delivered before what was asked before it",
    `${replay}/pump.ts`,
    "if (!this.patience.isRelaxed && this.journal.expected.hasBefore(recorded.seq)) return false;",
    "if (this.patience.isRelaxed && this.journal.expected.hasBefore(recorded.seq)) return false;",
    18,
  ),
  one(
    "all alike calls are of one branch",
    `${replay}/caller.ts`,
    "const branch = isBeside && isTogether ? besideOf(from.branch) : from.branch;",
    "const branch = isBeside && isTogether ? besideOf(this.root.branch) : this.root.branch;",
    174,
  ),
  one(
    "alike calls that follow one delivery are not told apart",
    `${replay}/drain.ts`,
    "group.count += 1;",
    "group.count = 1;",
  ),
  one(
    "calls that nothing tells apart are not refused",
    `${replay}/calls.ts`,
    "    if (!this.#pump.isOpen) return null;\n    if (clash !== null) {",
    '    if (!this.#pump.isOpen) return null;\n    if (clash !== null && made.content === "") {',
    2,
  ),
  one(
    "a call with a key is not found without it",
    `${replay}/matcher.ts`,
    "const found = this.#exact(made.identity) ?? this.#withoutKey(made);",
    "const found = this.#exact(made.identity);",
    35,
  ),
  one(
    "a value that is recalled is not recorded",
    `${replay}/calls.ts`,
    'this.#pump.settle(call, { address, value: { type: "recalled", seq } }, value);',
    "this.#pump.deliveries.later(call, seq, value);",
  ),
  one(
    "a wait that was given up keeps its event",
    `${core}/withdraw.ts`,
    "giveBack(next, name, arrivals);",
    "giveBack(next, name, arrivals.slice(0, 0));",
    1181,
  ),
  one(
    "what is withdrawn may still take an event",
    `${core}/withdraw.ts`,
    "if (others.length < waits.length) {",
    "if (others.length < 0) {",
    173,
  ),
  one(
    "a claim whose answer was lost is forgotten",
    `${held}/source.ts`,
    "...(lost.length > 0 ? { repeats: lost } : {})",
    "...(lost.length > 0 ? {} : {})",
    90,
  ),
  one(
    "a watch believes a cached row that says that a run is lost",
    `${engine}/watch.ts`,
    "if (run === undefined || isDoubtful(run, item)) {",
    "if (run === undefined) {",
    54,
  ),
  one(
    "storage writes over a row that has moved on",
    "packages/server/src/storage/memory/memory.ts",
    "if (this.tables.runs.get(id)?.revision === revision) return true;",
    "if (this.tables.runs.has(id)) return true;",
  ),
  one(
    "storage keeps what a failed transaction wrote",
    "packages/server/src/storage/memory/memory.ts",
    "transaction.undo();",
    "void transaction;",
  ),
];
