import type { Identified } from "../src/replay/call.ts";
import { promptIdentity } from "../src/replay/identity.ts";
import { beginningOf } from "../src/replay/points.ts";

/** A prompt call at the start of the handler. */
export function made(content: string, nth = 0, fields: Partial<Identified> = {}): Identified {
  const point = beginningOf({ reject: () => {} }, "");
  const group = { count: 1, recorded: null };
  const identity = promptIdentity(content, "start", "", nth);
  return {
    content,
    identity,
    branch: "",
    group,
    unkeyed: null,
    after: 0,
    delivered: "start",
    past: [],
    point,
    isChanged: false,
    isBeside: false,
    earlier: 0,
    isOfItem: false,
    ...fields,
  };
}
