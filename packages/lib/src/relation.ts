import type { Entry } from "./protocol/entry.ts";
import type { Report } from "./protocol/messages.ts";

/**
 * How a recorded entry relates to a report. `"none"`: the report does not contain it. `"asItSays"`: the report contains
 * it as it is recorded. `"otherwise"`: it is at the address of a child that the report starts, and another run or a
 * failure is recorded there.
 */
export type Relation = "none" | "asItSays" | "otherwise";

/** The relation of entries of the report's run and attempt to this report. */
export function relationTo({ entries, starts, fence }: Report): (entry: Entry) => Relation {
  const recorded = new Set(entries.map(({ address }) => address));
  const started = new Map(starts.map(({ address, spec }) => [address, spec.id]));
  return (entry) => {
    if (entry.fence !== fence) {
      return "none";
    }
    const id = started.get(entry.address);
    if (id !== undefined) {
      return entry.value.type === "started" && entry.value.runId === id ? "asItSays" : "otherwise";
    }
    return recorded.has(entry.address) ? "asItSays" : "none";
  };
}
