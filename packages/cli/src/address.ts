import type { Address } from "@aikirun/lib/protocol";

/** An address as people would say it. */
export interface ReadableAddress {
  /** `task`, `step`, `sleep`, `event`, `child`, … */
  kind: string;
  /** As the workflow's author wrote it; empty when the call has none. */
  name: string;
  /** From 0: tells alike calls apart, whatever their order. */
  ordinal: number;
  /** What follows the call's own address: `/1`, `/1/retry`, `/result`. */
  rest: string;
}

const shape = /^([^:]*):([^:#/]*)(?::[^#/]*)?(?:#(\d+))?(\/.*)?$/;

/** Total: an address of unknown shape is its own name. */
export function placeOf(address: Address): ReadableAddress {
  const match = shape.exec(address);
  if (match === null) return { kind: "", name: address, ordinal: 0, rest: "" };
  const [, kind = "", name = "", ordinal = "0", rest = ""] = match;
  return { kind, name: decoded(name), ordinal: Number(ordinal), rest };
}

/** `charge-card`, and for further calls that are alike `charge-card #1`. The numbers say nothing of their order. */
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
