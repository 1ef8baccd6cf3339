import type { Address } from "./run.ts";

/** The parts of an address, for display. */
export interface ReadableAddress {
  /** What kind of call it is: `task`, `step`, `sleep`, `event`, `child`, … */
  kind: string;
  /** As the workflow's author wrote it; empty when the call has none. */
  name: string;
  /** Distinguishes alike calls, from 0. The numbers do not show the order of the calls. */
  ordinal: number;
  /** What follows the call's own address: `/1`, `/1/retry`, `/result`. */
  rest: string;
}

const shape = /^([^:]*):([^:#/]*)(?::[^#/]*)?(?:#(\d+))?(\/.*)?$/;

/** Never fails: an address of unknown shape becomes the name. */
export function placeOf(address: Address): ReadableAddress {
  const match = shape.exec(address);
  if (match === null) return { kind: "", name: address, ordinal: 0, rest: "" };
  const [, kind = "", name = "", ordinal = "0", rest = ""] = match;
  return { kind, name: decoded(name), ordinal: Number(ordinal), rest };
}

/** `charge-card`, and `charge-card #1` for an alike call. The numbers are not the order of the calls. */
export function calledOf({ kind, name, ordinal }: ReadableAddress): string {
  const label = name === "" ? kind : name;
  return ordinal === 0 ? label : `${label} #${ordinal}`;
}

function decoded(component: string): string {
  if (component === "%") return "";
  if (component.startsWith("~")) return "(long name)";
  return component.replace(/%u([0-9a-f]{4})|%([0-9a-f]{2})/g, (_, wide?: string, narrow?: string) =>
    String.fromCharCode(Number.parseInt(wide ?? narrow ?? "0", 16)),
  );
}
