/** What must be known of a run's journal before a command is decided, and when. */

import { arrivalAddress, awaitedResult, resultAddress, signalAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address } from "@aikirun/lib/protocol";
import { isFinal } from "../core/decide.ts";
import type { Command, Outline, Run } from "../core/run.ts";
import { isWorkerCheckDue } from "../core/tick.ts";
import { withdrawnBy } from "../core/withdraw.ts";
import type { EntryKey } from "../storage/storage.ts";

/**
 * Whether the command may already have been applied, or depends on what is recorded, without an entry of its own that
 * would meet an existing one: a worker that has not received everything, or a late copy of its report, may open waits
 * that have ended; a withdrawn wait may have taken an event; the retry of an ended run may repeat one that was for the
 * run itself; and a tick may depend on whether the worker that suspended the run is alive.
 */
export function isBehind(run: Run, command: Command, now: number): boolean {
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

/** Where the command would record, and what its decision depends on. */
export function keysOf(run: Run, command: Command): EntryKey[] {
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
