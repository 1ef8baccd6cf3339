/** The answers to commands. */

import { relationTo } from "@aikirun/lib/internal";
import type { Entry, Report } from "@aikirun/lib/protocol";
import type { Accepted, Command, Decision, NewFact, Run } from "../core/run.ts";
import { isLoaded } from "../core/unread.ts";
import { cutJournal, entryBytes } from "../storage/journal.ts";
import type { Transaction } from "../storage/storage.ts";
import type { Budget, Room } from "./budget.ts";
import { bytesOf } from "./journals.ts";
import { type Answer, notFound, type Operation } from "./operation.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** Returns a promise only if something must be read first, because it is called thousands of times a second. */
export function answer(
  { transaction, work, reply }: Answering,
  { namespace, to, command, roomIn }: Extract<Operation, { type: "command" }>,
): Promise<Answer> | Answer {
  const run = work.get(to);
  if (run === undefined || (namespace !== null && run.namespace !== namespace)) {
    return notFound(to);
  }
  const { tail } = run;
  const pending = [...work.recorded(to)];
  const commanded = { transaction, work, room: roomIn?.(reply) ?? reply, command, tail, pending };
  const answered = (decision: Decision | null): Promise<Answer> | Answer =>
    decision?.ok === true ? answerOf(commanded, decision) : (decision ?? notFound(to));
  const decision = work.apply(to, command);
  return decision instanceof Promise ? decision.then(answered) : answered(decision);
}

interface Answering {
  transaction: Transaction;
  work: UnitOfWork;
  /** For the answers of this transaction. */
  reply: Budget;
}

interface Commanded extends Omit<Answering, "reply"> {
  room: Room;
  command: Command;
  /** The run's last `seq` before the command. */
  tail: number;
  /** What this transaction had decided to record before the command. */
  pending: NewFact[];
}

function answerOf(
  { transaction, work, room, command, tail, pending }: Commanded,
  decision: Accepted,
): Promise<Answer> | Answer {
  if (command.type !== "report") {
    const start = decision.effects.find(({ type }) => type === "start");
    return {
      ok: true,
      run: decision.run,
      retried: start?.type === "start" ? start.run : null,
      first: tail + 1,
      newEntries: [],
      cutAt: null,
    };
  }
  const { report } = command;
  const { id } = decision.run;
  const known = work.tailBefore(id);
  const written = [...pending, ...decision.entries];
  if (known <= report.after) {
    return reportAnswer(report, decision, { before: [], written, room });
  }
  // The row is read before its journal. Entries that another server records in between are left to a later answer.
  const request = { runId: id, after: report.after, limit: known - report.after, bytes: room.left };
  const reading = room.isLeft ? transaction.journal([request]) : Promise.resolve([]);
  return reading.then(([read = []]) => {
    // Meanwhile another transaction with reports of this request may have taken from its budget.
    const before = room.isLeft ? cutJournal(read, read.length, room.left) : [];
    room.takeBytes(bytesOf(before));
    const cutAt = before.at(-1)?.seq ?? report.after;
    return cutAt < known
      ? cutAnswer(transaction, report, { run: decision.run, entries: before, cutAt, written })
      : reportAnswer(report, decision, { before, written, room });
  });
}

/** New entries that do not all fit into the reply. */
interface Cut {
  run: Run;
  /** Those that fit, up to `cutAt`. */
  entries: Entry[];
  cutAt: number;
  /** What this transaction records, which storage does not have yet. */
  written: NewFact[];
}

/** The worker reads the entries after `cutAt` before it uses the answer. */
async function cutAnswer(
  transaction: Transaction,
  report: Report,
  { run, entries, cutAt, written }: Cut,
): Promise<Answer> {
  const relation = relationTo(report);
  const addresses = [...report.entries, ...report.starts].map(({ address }) => address);
  // The report, or the one that it repeats, may have ended its attempt.
  const keys = [run.attempt, run.attempt - 1].flatMap((attempt) =>
    addresses.map((address) => ({ runId: run.id, attempt, address })),
  );
  const brought = new Set(addresses);
  const there = [...(await transaction.entriesAt(keys)), ...written].filter(
    ({ fence, address }) => fence === report.fence && brought.has(address),
  );
  const first = there.reduce((least, { seq }) => Math.min(least, seq), run.tail + 1);
  const newEntries = entries.filter((entry) => relation(entry) !== "asItSays");
  return { ok: true, run, retried: null, first, newEntries, cutAt };
}

interface NewEntries {
  /** Recorded entries that the worker has not received. */
  before: Entry[];
  /** What this transaction records, up to this report. */
  written: NewFact[];
  room: Room;
}

function reportAnswer(report: Report, { run, entries }: Accepted, { before, written, room }: NewEntries): Answer {
  const isAlone = before.length + report.starts.length === 0 && written.length === entries.length;
  if (isAlone && entries.length === report.entries.length) {
    return { ok: true, run, retried: null, first: entries[0]?.seq ?? run.tail + 1, newEntries: [], cutAt: null };
  }
  const relation = relationTo(report);
  const isNew = (entry: Entry) => relation(entry) !== "asItSays";
  const cutAt = cutOf(written, isNew, room);
  const all = [...before, ...written.filter(isLoaded)];
  const first = all.find((entry) => relation(entry) !== "none")?.seq ?? run.tail + 1;
  const newEntries = all.filter((entry) => isNew(entry) && (cutAt === null || entry.seq <= cutAt));
  return { ok: true, run, retried: null, first, newEntries, cutAt };
}

/** The `seq` before the first entry that does not fit or is not loaded; null if all entries fit. */
function cutOf(written: readonly NewFact[], isNew: (entry: Entry) => boolean, room: Room): number | null {
  for (const fact of written) {
    if (!isLoaded(fact)) {
      return fact.seq - 1;
    }
    if (isNew(fact)) {
      if (!room.isLeft) {
        return fact.seq - 1;
      }
      room.takeBytes(entryBytes(fact));
    }
  }
  return null;
}
