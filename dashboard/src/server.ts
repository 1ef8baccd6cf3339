/** Calls of the server. The API key is in the memory of this page only: reloading the page forgets it. */

import type { ReplyOf, RequestOf, Verb } from "@aikirun/lib/protocol";
import { useSyncExternalStore } from "react";

/** Why a call failed. */
export class CallError extends Error {
  /** The HTTP status; 0 if the server could not be reached. */
  readonly status: number;
  /** A code of docs/errors.md. */
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let apiKey: string | null = null;
let isKeyNeeded = false;
const listeners = new Set<() => void>();

function changed(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Whether the server refused a call because it needs a valid API key. */
export function useKeyNeeded(): boolean {
  return useSyncExternalStore(subscribe, () => isKeyNeeded);
}

/** Whether calls have an API key that can be forgotten. */
export function useSignedIn(): boolean {
  return useSyncExternalStore(subscribe, () => apiKey !== null && !isKeyNeeded);
}

/** Uses the key for all further calls. Rejects if the server does not accept it. */
export async function signIn(key: string): Promise<void> {
  apiKey = key;
  isKeyNeeded = false;
  try {
    await call("read", { runs: [] });
  } catch (thrown) {
    apiKey = null;
    isKeyNeeded = true;
    throw thrown;
  } finally {
    changed();
  }
}

export function signOut(): void {
  apiKey = null;
  isKeyNeeded = true;
  changed();
}

/** Throws `CallError`. */
export async function call<V extends Verb>(
  verb: V,
  request: RequestOf<V>,
  signal: AbortSignal | null = null,
): Promise<ReplyOf<V>> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (apiKey !== null) headers.authorization = `Bearer ${apiKey}`;
  const url = new URL(`v1/${verb}`, document.baseURI);
  const body = JSON.stringify(request);
  let response: Response;
  try {
    response = await fetch(url, { method: "POST", headers, body, signal });
  } catch (thrown) {
    if (signal?.aborted === true) throw thrown;
    throw new CallError(0, "UNREACHABLE", "The server cannot be reached.");
  }
  if (response.ok) return response.json();
  throw await errorOf(response);
}

async function errorOf(response: Response): Promise<CallError> {
  if (response.status === 401) {
    isKeyNeeded = true;
    changed();
  }
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return new CallError(response.status, String(error.code), String(error.message));
  } catch {
    return new CallError(response.status, "BAD_REPLY", `The server replied with status ${response.status}.`);
  }
}
