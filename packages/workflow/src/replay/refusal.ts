/** Finds the calls that depend on ambiguous calls. Pure. */

import type { CallSite } from "@aikirun/lib/protocol";
import { besideOf, branchAfterNth, branchOf, lateIdentity } from "./identity.ts";
import { isAlike, type Recorded } from "./recorded.ts";

/** Two calls that could not be distinguished. */
export interface AmbiguousCalls {
  readonly identity: string;
  /** The records of these calls. */
  readonly recorded: readonly Recorded[];
  /** The names of the branches that continue after these calls, and after calls that depend on them. */
  readonly branches: Set<string>;
}

/** The branch of a late call is found by hashing candidates. After this many hashes the search ends. */
const mostTries = 2_000_000;

/** Returns those calls that are refused or were made from a refused branch. Adds their branches to `refusal`. */
export function dependentOn(calls: readonly Recorded[], refusal: AmbiguousCalls): Recorded[] {
  const { branches } = refusal;
  const found = new Set<Recorded>();
  const byPlace = new Map<string, Recorded[]>();
  const contents = new Set<string>();
  const add = (call: Recorded): void => {
    if (found.has(call)) return;
    found.add(call);
    for (const branch of branchesAfter(call)) branches.add(branch);
  };
  for (const call of calls) {
    if (call.callSite === null) continue;
    const { branch, identity } = call.callSite;
    if (branch === undefined) contents.add(call.content);
    const place = branch === undefined ? identity : branchOf(branch);
    byPlace.set(place, [...(byPlace.get(place) ?? []), call]);
    if (isRefused(call, refusal)) add(call);
  }
  let tries = 0;
  for (const branch of branches) {
    for (const call of byPlace.get(branch) ?? []) if (call.callSite?.branch !== undefined) add(call);
    for (const content of tries < mostTries ? contents : []) {
      for (const place of [branch, besideOf(branch)]) {
        tries += 1;
        for (const call of byPlace.get(lateIdentity(content, place)) ?? []) if (call.content === content) add(call);
      }
    }
  }
  return [...found];
}

function isRefused(call: Recorded, { identity, recorded }: AmbiguousCalls): boolean {
  return call.callSite?.identity === identity || recorded.some((one) => isAlike(call, one));
}

/** The branches that may continue after the call: its call site may fit several alike calls. */
function branchesAfter({ content, callSite }: Recorded): string[] {
  return callSite === null ? [] : pathsOf(content, callSite);
}

function pathsOf(content: string, { identity, branch, alike = 1 }: CallSite): string[] {
  if (branch === undefined) return [identity];
  const late = lateIdentity(content, branch);
  return Array.from({ length: alike }, (_, nth) => branchAfterNth(late, nth));
}
