/** The order that nearly every scenario carries out, from the client's side. */

import type { Client } from "@aikirun/client";
import type { Deeds } from "./facts.ts";
import { type OrderInput, type OrderOutput, type Programs, programs } from "./programs.ts";

/** In the process of the test nothing is executed. */
export function startable(suffix: string): Programs {
  return programs(suffix, { ledger: "/dev/null", reach: () => {} });
}

/** Starts an order, and says what was acknowledged. */
export async function startOrder(aiki: Client, deeds: Deeds, suffix: string, input: OrderInput = {}) {
  const handle = await startable(suffix).order.start(aiki, input);
  deeds.started.set(handle.id, "completed");
  return handle;
}

export type OrderHandle = Awaited<ReturnType<typeof startOrder>>;

/** Sends what the order waits for; sent twice under one reference it counts once. */
export async function approve(handle: OrderHandle, deeds: Deeds): Promise<void> {
  await handle.events.approved.send({ by: "ada" }, { referenceId: "approval" });
  deeds.sent.push({ runId: handle.id, name: "approved", referenceId: "approval" });
}

export async function resultOf(handle: OrderHandle, deeds: Deeds): Promise<OrderOutput> {
  const output = await handle.result();
  deeds.outputs.set(handle.id, output);
  return output;
}
