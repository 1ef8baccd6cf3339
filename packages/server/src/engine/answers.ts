/** The answers to commands. */

import { relationTo } from "@aikirun/lib/internal";
import type { Entry, Report } from "@aikirun/lib/protocol";
import type { Command, Decision, Run } from "../core/run.ts";
import type { Transaction } from "../storage/storage.ts";
import type { Budget } from "./budget.ts";
import { bytesOf } from "./journals.ts";
import { type Answer, notFound, type Operation } from "./operation.ts";
import type { Work } from "./work.ts";

/** A promise only where something must be read first: thousands of answers are given each second. */
export function answer(
  answering: Answering,
  { namespace, to, command }: Extract<Operation, { type: "command" }>,
): Promise<Answer> | Answer {
  const { work } = answering;
  const run = work.get(to);
  if (run === undefined || (namespace !== null && run.namespace !== namespace)) {
    return notFound(to);
  }
  const { tail } = run;
  const pending = [...work.recorded(to)];
  const answered = (decision: Decision | null): Promise<Answer> | Answer =>
    decision?.ok === true ? answerOf({ ...answering, command, tail, pending }, decision) : (decision ?? notFound(to));
  const decision = work.apply(to, command);
  return decision instanceof Promise ? decision.then(answered) : answered(decision);
}

interface Answering {
  transaction: Transaction;
  work: Work;
  /** For the answers of this transaction. */
  reply: Budget;
}

interface Commanded extends Answering {
  command: Command;
  /** The run's last `seq` before the command. */
  tail: number;
  /** What this transaction had decided to record before the command. */
  pending: Entry[];
}

function answerOf(
  { transaction, work, reply, command, tail, pending }: Commanded,
  decision: Extract<Decision, { ok: true }>,
): Promise<Answer> | Answer {
  if (command.type !== "report") {
    const anew = decision.effects.find(({ type }) => type === "start");
    return {
      ok: true,
      run: decision.run,
      anew: anew?.type === "start" ? anew.run : null,
      first: tail + 1,
      news: [],
      cutAt: null,
    };
  }
  const { report } = command;
  const { id } = decision.run;
  const known = work.tailBefore(id);
  if (known <= report.after) {
    return reportAnswer(report, decision, [], pending);
  }
  // The row and its journal are read one after the other: what another server records in between is for later.
  const request = { runId: id, after: report.after, limit: known - report.after, bytes: reply.left };
  const reading = reply.isLeft ? transaction.journal([request]) : Promise.resolve([]);
  return reading.then(([before = []]) => {
    reply.takeBytes(bytesOf(before));
    const cutAt = before.at(-1)?.seq ?? report.after;
    return cutAt < known
      ? cutAnswer(transaction, report, {
          run: decision.run,
          entries: before,
          cutAt,
          written: [...pending, ...decision.entries],
        })
      : reportAnswer(report, decision, before, pending);
  });
}

/** News that does not fit into the reply. */
interface Cut {
  run: Run;
  /** As much as fits, up to `cutAt`. */
  entries: Entry[];
  cutAt: number;
  /** What this transaction records, which storage does not have yet. */
  written: Entry[];
}

/** The worker reads on from where the news is cut, before it uses the answer. */
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
  const news = entries.filter((entry) => relation(entry) !== "asItSays");
  return { ok: true, run, anew: null, first, news, cutAt };
}

/** `before`: what was recorded that the worker does not know of; `pending`: in this transaction. */
function reportAnswer(
  report: Report,
  decision: Extract<Decision, { ok: true }>,
  before: Entry[],
  pending: Entry[],
): Answer {
  const isAlone = before.length + pending.length + report.starts.length === 0;
  if (isAlone && decision.entries.length === report.entries.length) {
    const first = decision.entries[0]?.seq ?? decision.run.tail + 1;
    return { ok: true, run: decision.run, anew: null, first, news: [], cutAt: null };
  }
  const relation = relationTo(report);
  const all = [...before, ...pending, ...decision.entries];
  const first = all.find((entry) => relation(entry) !== "none")?.seq ?? decision.run.tail + 1;
  const news = all.filter((entry) => relation(entry) !== "asItSays");
  return { ok: true, run: decision.run, anew: null, first, news, cutAt: null };
}
