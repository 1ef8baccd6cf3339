import { sha256 } from "./hash.ts";
import type { Address } from "./protocol/run.ts";

/** Characters to encode: separators of addresses, characters that PostgreSQL cannot store, and the escape itself. */
const special = /[%~:#/\p{Cc}\p{Surrogate}]/gu;
const plain = /^[^%~:#/\p{Cc}\p{Surrogate}]+$/u;

/** Longer components are hashed: an address is a key of an index. */
const longest = 255;

/**
 * The address `kind:name:content#ordinal`. If `content` is null, its colon is omitted; a null `name` is empty.
 * Different arguments never make the same address. `ordinal` counts repeats, from 0.
 */
export function addressOf(kind: string, name: string | null, content: string | null, ordinal: number): Address {
  const head = `${component(kind)}:${name === null ? "" : component(name)}`;
  return content === null ? `${head}#${ordinal}` : `${head}:${component(content)}#${ordinal}`;
}

/** Name of a hashed component: the address does not contain the name itself. */
const hashedName = "other";

/**
 * The name of the task or step whose result or failed attempt has this address, or null if the address belongs to
 * something else. `other` if the name is so long that the address contains only its hash.
 */
export function taskNameOf(address: Address): string | null {
  const name = /^(?:task|step):([^:#/]*)(?::[^#/]*)?#\d+(?:\/\d+)?$/.exec(address)?.[1];
  if (name === undefined) return null;
  if (name.startsWith("~")) return hashedName;
  return name === "%" ? "" : name.replace(/%u([0-9a-f]{4})|%([0-9a-f]{2})/g, character);
}

function character(_: string, long: string | undefined, short: string | undefined): string {
  return String.fromCharCode(Number.parseInt(long ?? short ?? "", 16));
}

/** Where the end of a child is recorded. */
export function resultAddress(childAddress: Address): Address {
  return `${childAddress}/result`;
}

/** Where the end of the child is recorded, for the wait at this address. */
export function awaitedResult(waitAddress: Address): Address {
  return resultAddress(waitAddress.slice(0, waitAddress.lastIndexOf("/")));
}

/** Where the `attempt`th failed try of a task is recorded, from 1. */
export function tryAddress(taskAddress: Address, attempt: number): Address {
  return `${taskAddress}/${attempt}`;
}

/** The wait that follows the `attempt`th failed try of a task, from 1. */
export function retryAddress(taskAddress: Address, attempt: number): Address {
  return `${taskAddress}/${attempt}/retry`;
}

/** Where a handler's `nth` wait for this child is recorded, from 0. */
export function childWaitAddress(childAddress: Address, nth: number): Address {
  return `${childAddress}/wait#${nth}`;
}

/** The address of the entry that says that the wait for a child at `waitAddress` has started. */
export function openedWaitAddress(waitAddress: Address): Address {
  return `${waitAddress}/ask`;
}

/** Where it is recorded that the handler withdrew the wait at this address. */
export function withdrawnAddress(waitAddress: Address): Address {
  return `${waitAddress}/withdrawn`;
}

/** The wait that the withdrawal at this address withdrew. */
export function withdrawnWait(withdrawal: Address): Address {
  return withdrawal.slice(0, withdrawal.lastIndexOf("/"));
}

/** Where an event that arrives from outside is recorded: once per name and reference. */
export function arrivalAddress(eventName: string, referenceOrSignalId: string): Address {
  return `arrival:${component(eventName)}:${component(referenceOrSignalId)}`;
}

/** Where the mark of a signal is recorded: once per signal. */
export function signalAddress(signalId: string): Address {
  return `signal:${component(signalId)}`;
}

function component(text: string): string {
  if (text === "") return "%";
  const encoded = plain.test(text) ? text : text.replace(special, percent);
  return encoded.length <= longest ? encoded : `~${sha256(JSON.stringify(text))}`;
}

function percent(unit: string): string {
  const code = unit.charCodeAt(0);
  return code < 256 ? `%${code.toString(16).padStart(2, "0")}` : `%u${code.toString(16)}`;
}
