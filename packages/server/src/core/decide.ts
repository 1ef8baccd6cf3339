/**
 * All decisions of the engine, as one pure function: (run, command, moment) -> decision.
 *
 *                    start
 *                      v
 *   scheduled ----> queued <----------------------------------------------+
 *                      | claim                                            |
 *                      v           suspend                                | tick, receive, wake
 *                   running -----------------> sleeping, awaiting_event, -+
 *                    |  |  ^                   awaiting_child_workflow,
 *     lease ended,   |  |  | reclaim           awaiting_retry
 *     release        |  |  +-------------------------'
 *        (queued) <--+  |
 *                       +--> completed | failed | cancelled        (final: R2)
 *
 *   A scheduled, queued or suspended run can be paused; a stalled run waits for retry or cancel. Only a command ends
 *   either state.
 */

import { claim, leave, renew } from "./claim.ts";
import { isFinal } from "./draft.ts";
import { receive } from "./receive.ts";
import { report } from "./report.ts";
import type { Command, Decision, DecisionContext, Run } from "./run.ts";
import { cancel, childless, orphan, pause, resume, retry, wake } from "./signals.ts";
import { tick } from "./tick.ts";

export function decide(run: Run, command: Command, moment: DecisionContext): Decision {
  switch (command.type) {
    case "tick":
      return tick(run, command.isHolderAlive ?? false, moment);
    case "claim":
      return claim(run, command.claim, moment);
    case "renew":
      return renew(run, command, moment);
    case "leave":
      return leave(run, command, moment);
    case "report":
      return report(run, command, moment);
    case "receive":
      return receive(run, command.arrival, command.known, moment);
    case "cancel":
      return cancel(run, command, moment);
    case "pause":
      return pause(run, command, moment);
    case "resume":
      return resume(run, command, moment);
    case "wake":
      return wake(run, command, moment);
    case "retry":
      return retry(run, command, moment);
    case "orphan":
      return orphan(run, moment);
    case "childless":
      return childless(run, moment);
    default:
      return command satisfies never;
  }
}

export { isFinal };
