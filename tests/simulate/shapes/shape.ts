/**
 * Ordinary code, as people write it around durable calls. Each shape may await plain work wherever it says so.
 */

/** What a shape is made of. Paths tell its calls apart, whatever the engine makes of them. */
export interface ShapeStage {
  /** A step that calls itself `name`; resolves with what its body made. */
  step(path: string, name: string): Promise<string>;
  /** The same, whose body fails in the first attempt of the run. */
  failing(path: string, name: string): Promise<string>;
  task(path: string, name: string): Promise<string>;
  sleep(path: string, ms: number, signal?: AbortSignal): Promise<string>;
  /** Waits for an event for a while. */
  wait(path: string, ms: number, signal?: AbortSignal): Promise<string>;
  uuid(path: string): string;
  random(path: string): string;
  now(path: string): string;
  /** Perhaps plain work. */
  plain(): Promise<void>;
  /** Plain work for sure. */
  pause(): Promise<void>;
  /** Of the run: from 1. */
  readonly attempt: number;
  /** Gives up who loses. */
  race(rivals: Array<(signal: AbortSignal) => Promise<string>>): Promise<string>;
  map(items: readonly string[], concurrency: number, each: (item: string) => Promise<string>): Promise<string[]>;
}

/** What the checker must know of a shape. */
export interface Shape {
  run: (stage: ShapeStage) => Promise<string[]>;
  /** Plain work decides in which order it takes a lock, so a replay may wait in vain and deliver in another order. */
  hasLock?: boolean;
  /** Plain work alone decides its race. */
  isTimed?: boolean;
  /** Something of it goes on when it has ended. */
  leavesBehind?: boolean;
}

export const items: readonly string[] = ["a", "b", "c", "d", "e"];
export const two: readonly string[] = ["a", "b"];

export function all(names: readonly string[], each: (name: string) => Promise<string>): Promise<string[]> {
  return Promise.all(names.map(each));
}
