/** Which entries of a run's journal a command depends on, and when they must be read before it is decided. */

import { arrivalAddress, awaitedResult, resultAddress, signalAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, RunId } from "@aikirun/lib/protocol";
import { isFinal } from "./draft.ts";
import type { Command, Outline, Run } from "./run.ts";
import { isWorkerCheckDue } from "./tick.ts";
import { withdrawnBy } from "./withdraw.ts";

/** Where an entry is recorded. */
export interface EntryKey {
  runId: RunId;
  attempt: number;
  address: string;
}

/**
 * Whether entries, or workers, must be read before the command is decided. Most commands are decided from the row of
 * the run alone: if such a command was applied before, an entry that it writes conflicts with an existing one, and it
 * is decided again. There is no such conflict in these cases:
 *
 * - A worker that has not received everything, or a late copy of its report, opens waits that have ended.
 * - A wait that a report withdraws has taken an event.
 * - The retry of an ended run repeats one that was for the run itself.
 * - A tick depends on whether the worker that suspended the run is alive.
 */
export function needsReading(run: Run, command: Command, now: number): boolean {
  if (command.type === "tick") {
    return isWorkerCheckDue(run.state, now);
  }
  if (command.type !== "report") {
    return command.type === "retry" && isFinal(run.state);
  }
  const { report } = command;
  const isOld = report.seen !== run.inbox || report.after < run.tail;
  return (report.opens.length > 0 && isOld) || !areOpen(run, withdrawnBy(report));
}

function areOpen({ waits }: Run, addresses: ReadonlySet<Address>): boolean {
  return addresses.size === 0 || waits.filter(({ address }) => addresses.has(address)).length === addresses.size;
}

export function keyText({ attempt, address }: { attempt: number; address: string }): string {
  return `${attempt} ${address}`;
}

export function withKnown(command: Command, known: Outline[]): Command {
  return "known" in command ? { ...command, known } : command;
}

/** Where the command would record entries, and which entries its decision depends on. */
export function entryKeysOf(run: Run, command: Command): EntryKey[] {
  const at = (address: string, attempt: number): EntryKey => ({ runId: run.id, attempt, address });
  switch (command.type) {
    case "report":
      return addressesOf(command).map((address) => at(address, run.attempt));
    case "receive": {
      const { arrival } = command;
      return arrival.type === "event"
        ? [at(arrivalAddress(arrival.name, arrival.referenceId ?? arrival.signalId), 0)]
        : [at(resultAddress(arrival.address), run.attempt)];
    }
    case "cancel":
    case "pause":
    case "resume":
    case "wake":
    case "retry":
      return [at(signalAddress(command.signalId), 0)];
    case "tick":
    case "claim":
    case "renew":
    case "leave":
    case "orphan":
    case "childless":
      return [];
    default:
      return command satisfies never;
  }
}

function addressesOf({ report }: Extract<Command, { type: "report" }>): Address[] {
  const { entries, starts, opens } = report;
  const ends = opens.flatMap(({ type, address }) => [
    withdrawnAddress(address),
    ...(type === "child" ? [awaitedResult(address)] : []),
  ]);
  const results = starts.map(({ address }) => resultAddress(address));
  return [
    ...[...entries, ...starts, ...opens].map(({ address }) => address),
    ...results,
    ...ends,
    ...withdrawnBy(report),
  ];
}
