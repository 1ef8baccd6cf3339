import type { Failure, RunView } from "@aikirun/lib/protocol";
import { plain } from "../text.ts";

/** The properties of a run, one on each line. */
export function factsOf(run: RunView): string[] {
  const facts: Array<[string, string | undefined]> = [
    ["run", run.id],
    ["reference", run.referenceId],
    ["attempt", run.attempt > 1 ? String(run.attempt) : undefined],
    ["parent", run.parent?.id],
    ["retry of", run.retryOf],
    ["shard", run.shardKey],
    ["tags", run.tags.length > 0 ? run.tags.join(", ") : undefined],
    ["now", run.explanation],
  ];
  return facts.flatMap(([label, value]) => (value === undefined ? [] : [`${label.padEnd(10)} ${plain(value)}`]));
}

/** The stacks of the errors with which a run failed. */
export function stackOf({ outcome }: RunView): string[] {
  if (outcome?.status !== "failed") return [];
  const lines: string[] = [""];
  for (let link: Failure | undefined = outcome.error; link !== undefined; link = link.cause) {
    const text = link.stack ?? `${link.name}: ${link.message}`;
    const intro = link === outcome.error ? "" : "caused by ";
    lines.push(...`${intro}${text}`.split("\n").slice(0, 12).map(plain));
  }
  return lines;
}
