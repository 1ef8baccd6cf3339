/**
 * A shape is code around durable calls, as users write it. A shape awaits non-durable work only with `plain` and
 * `pause`.
 */

/** The calls of a shape. A path identifies each call for the checker. */
export interface ShapeStage {
  /** A step with this name. Resolves with the nonce of its body. */
  step(path: string, name: string): Promise<string>;
  /** The same step, but its body fails in the first attempt of the run. */
  failing(path: string, name: string): Promise<string>;
  task(path: string, name: string): Promise<string>;
  sleep(path: string, ms: number, signal?: AbortSignal): Promise<string>;
  /** Waits for an event with a timeout. */
  wait(path: string, ms: number, signal?: AbortSignal): Promise<string>;
  uuid(path: string): string;
  random(path: string): string;
  now(path: string): string;
  /** Non-durable work or only microtasks, at random. */
  plain(): Promise<void>;
  /** Non-durable work, if the program has any. */
  pause(): Promise<void>;
  /** The attempt of the run, from 1. */
  readonly attempt: number;
  /** A race that withdraws the losers. */
  race(rivals: Array<(signal: AbortSignal) => Promise<string>>): Promise<string>;
  map(items: readonly string[], concurrency: number, each: (item: string) => Promise<string>): Promise<string[]>;
}

/** What the checker must know about a shape. */
export interface Shape {
  run: (stage: ShapeStage) => Promise<string[]>;
  /** Non-durable work decides the order in which it takes a lock, so a replay may deliver in another order. */
  hasLock?: boolean;
  /** Whether only non-durable work decides which contender of its race wins. */
  isTimed?: boolean;
  /** Whether its calls may still be open when it ends. */
  leavesBehind?: boolean;
}

export const items: readonly string[] = ["a", "b", "c", "d", "e"];
export const two: readonly string[] = ["a", "b"];

export function all(names: readonly string[], each: (name: string) => Promise<string>): Promise<string[]> {
  return Promise.all(names.map(each));
}
