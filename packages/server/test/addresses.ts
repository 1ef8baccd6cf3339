import { arrivalAddress, awaitedResult, resultAddress, signalAddress } from "@aikirun/lib";
import type { Command } from "../src/core/run.ts";

/** Where a command would record: what a shell looks up before it repeats a decision. */
export function addressesOf(command: Command): string[] {
  switch (command.type) {
    case "report": {
      const { entries, starts, opens } = command.report;
      const results = opens.flatMap(({ type, address }) => (type === "child" ? [awaitedResult(address)] : []));
      return [...entries, ...starts, ...opens].map(({ address }) => address).concat(results);
    }
    case "receive": {
      const { arrival } = command;
      return arrival.type === "event"
        ? [arrivalAddress(arrival.name, arrival.referenceId ?? arrival.signalId)]
        : [resultAddress(arrival.address)];
    }
    case "cancel":
    case "pause":
    case "resume":
    case "wake":
    case "retry":
      return [signalAddress(command.signalId)];
    case "tick":
    case "claim":
    case "renew":
    case "orphan":
    case "childless":
      return [];
    default:
      return command satisfies never;
  }
}
