/** The client's side of the order workflow that most scenarios use. */

import type { Client } from "@aikirun/client";
import type { Actions } from "./facts.ts";
import { type OrderInput, type OrderOutput, type Programs, programs } from "./programs.ts";

/** The workflows of the tests for starting only: the test's own process executes none. */
export function startable(suffix: string): Programs {
  return programs(suffix, { ledger: "/dev/null", reach: () => {} });
}

/** Starts an order and records that the start was acknowledged. */
export async function startOrder(aiki: Client, actions: Actions, suffix: string, input: OrderInput = {}) {
  const handle = await startable(suffix).order.start(aiki, input);
  actions.started.set(handle.id, "completed");
  return handle;
}

export type OrderHandle = Awaited<ReturnType<typeof startOrder>>;

/** Sends the event that the order waits for. Its reference id makes a repeat harmless. */
export async function approve(handle: OrderHandle, actions: Actions): Promise<void> {
  await handle.events.approved.send({ by: "ada" }, { referenceId: "approval" });
  actions.sent.push({ runId: handle.id, name: "approved", referenceId: "approval" });
}

export async function resultOf(handle: OrderHandle, actions: Actions): Promise<OrderOutput> {
  const output = await handle.result();
  actions.outputs.set(handle.id, output);
  return output;
}
