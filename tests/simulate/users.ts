/** Users: their requests, and which of them were acknowledged. */

import type { Client } from "@aikirun/client";
import { isAikiError } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { ProgramVersion } from "./calls.ts";
import { drawProgram } from "./draw.ts";
import type { Fleet } from "./fleet.ts";
import type { ProgramHandle } from "./interpreter.ts";
import type { Knobs } from "./knobs.ts";
import type { Ledger } from "./ledger.ts";
import type { Prng } from "./prng.ts";
import { never } from "./process.ts";
import { type EventName, eventNames, type Program } from "./program.ts";
import type { World } from "./world.ts";

interface Started {
  handle: ProgramHandle;
  label: string;
}

/** An event that was acknowledged. */
export interface Sent {
  runId: RunId;
  name: EventName;
  id: string;
  referenceId: string | null;
}

export interface UsersOptions {
  world: World;
  fleet: Fleet;
  ledger: Ledger;
  knobs: Knobs;
}

export class Users {
  /** Acknowledged starts. */
  readonly started: Map<RunId, Started> = new Map();
  readonly sent: Sent[] = [];
  /** The ids of all events that were sent, acknowledged or not. */
  readonly sentIds: Set<string> = new Set();
  readonly cancelled: Set<RunId> = new Set();
  /** The results that users received. */
  readonly results: Map<RunId, string> = new Map();
  readonly #options: UsersOptions;
  readonly #prng: Prng;
  readonly #byReference = new Map<string, { id: RunId; program: string }>();
  #client: Client | null = null;
  #version: ProgramVersion | null = null;
  #events = 0;
  /** The number of requests without a reply. */
  #pending = 0;

  constructor(options: UsersOptions) {
    this.#options = options;
    this.#prng = options.world.prng.fork("users");
  }

  /** Starts all runs in the first half of the faults, and sends other requests until faults end. */
  begin(): void {
    const { world, fleet, knobs } = this.#options;
    const { client, version, process } = fleet.user("user");
    this.#version = version;
    const act = (delayMs: number, label: string, run: () => void) => world.after(delayMs, { process, label, run });
    client.then((connected) => {
      this.#client = connected;
    });
    for (let index = 0; index < knobs.runs; index++) {
      const program = drawProgram(world.prng.fork(`program ${index}`), !knobs.isGentle);
      act(this.#prng.below(knobs.chaosMs / 2), "start", () => void this.#start(`r${index}`, program));
    }
    const intervalMs = this.#prng.magnitude(knobs.chaosMs / 100, knobs.chaosMs / 5);
    for (let at = 0; at < knobs.chaosMs; at += 1 + this.#prng.below(2 * intervalMs)) {
      act(at, "act", () => this.#actOn());
    }
  }

  /** Whether all requests have a reply, and all results were received. */
  get isIdle(): boolean {
    return this.#pending === 0 && [...this.started.keys()].every((id) => this.results.has(id));
  }

  /** Sends a request that only a user sends. */
  request(id: RunId, what: "resume" | "retry" | "cancel"): void {
    const handle = this.#handleOf(id);
    if (handle === null) return;
    if (what === "retry") void this.retry(handle);
    else if (what === "cancel") this.cancel(handle);
    else void this.#attempt(() => handle.resume());
  }

  sendTo(id: RunId, name: EventName): void {
    const handle = this.#handleOf(id);
    if (handle !== null) void this.send(handle, name, false);
  }

  #handleOf(id: RunId): ProgramHandle | null {
    const known = this.started.get(id)?.handle;
    if (known !== undefined) return known;
    if (this.#client === null || this.#version === null) return null;
    return this.#client.runs.get(id, this.#version);
  }

  handles(): ProgramHandle[] {
    return [...this.started.values()].map(({ handle }) => handle);
  }

  async #start(label: string, program: Program): Promise<void> {
    const { world } = this.#options;
    const prng = world.prng.fork(`start ${label}`);
    const referenceId = prng.chance(0.5) ? label : null;
    const options = {
      ...(referenceId === null ? {} : { referenceId }),
      ...(program.retry === undefined ? {} : { retry: program.retry }),
      ...(prng.chance(0.1) ? { timeout: { milliseconds: prng.pick([500, 5_000, 30_000]) } } : {}),
      ...(prng.chance(0.2) ? { delay: { milliseconds: prng.pick([1, 300, 5_000]) } } : {}),
      ...(prng.chance(0.2) ? { priority: prng.between(-5, 5) } : {}),
    };
    const times = referenceId !== null && prng.chance(0.5) ? 2 : 1;
    for (let time = 0; time < times; time++) void this.#startOnce(label, program, options, referenceId);
  }

  async #startOnce(label: string, program: Program, options: object, referenceId: string | null): Promise<void> {
    const { world } = this.#options;
    const handle = await this.#attempt((client, version) => version.start(client, { program, label }, options));
    if (handle === null) return;
    world.names.give(handle.id, label);
    world.trace(`the user started ${label}`);
    if (referenceId !== null) {
      const before = this.#byReference.get(referenceId)?.id ?? handle.id;
      this.#byReference.set(referenceId, { id: handle.id, program: label });
      if (before !== handle.id) world.violate("REFERENCE", `The start ${referenceId} made two runs`);
    }
    this.#adopt(handle, label);
  }

  #adopt(handle: ProgramHandle, label: string): void {
    if (this.started.has(handle.id)) return;
    this.started.set(handle.id, { handle, label });
    void this.#awaitResult(handle);
  }

  async #awaitResult(handle: ProgramHandle): Promise<void> {
    const { world } = this.#options;
    for (let waitThroughStalls = false; ; ) {
      const seen = await handle.result({ waitThroughStalls }).then(
        (output) => `completed ${output}`,
        (error) => (isAikiError(error) ? error.code : String(error)),
      );
      if (seen === "RUN_STALLED") waitThroughStalls = this.#sawStall(handle.id);
      else if (seen !== "UNREACHABLE" && seen !== "UNAVAILABLE") {
        this.results.set(handle.id, seen);
        world.trace(`the user receives the result of ${world.names.of(handle.id)}: ${seen}`);
        return;
      }
    }
  }

  /** A user may receive RUN_STALLED only if the run has stalled. */
  #sawStall(id: RunId): true {
    const { world, ledger } = this.#options;
    const hasStalled = ledger.mirror
      .journal(id)
      .some(({ value }) => value.type === "marked" && value.mark === "stalled");
    if (!hasStalled)
      world.violate("RESULT", `The user received RUN_STALLED from ${world.names.of(id)}, which never stalled`);
    return true;
  }

  #actOn(): void {
    const { world } = this.#options;
    const handles = this.handles();
    if (handles.length === 0) return;
    const handle = this.#anyOf(handles);
    const roll = this.#prng.below(100);
    const request = (what: string, call: () => Promise<unknown>) => {
      world.trace(`the user requests ${what} of ${world.names.of(handle.id)}`);
      void this.#attempt(call);
    };
    if (roll < 60) void this.send(handle, this.#prng.pick(eventNames), this.#prng.chance(0.4));
    else if (roll < 68) request("pause", () => handle.pause());
    else if (roll < 80) request("resume", () => handle.resume());
    else if (roll < 88) request("wake", () => handle.wake());
    else if (roll < 91) this.cancel(handle);
    else void this.retry(handle);
  }

  /** Usually a run that the user started, sometimes a child. */
  #anyOf(handles: readonly ProgramHandle[]): ProgramHandle {
    const own = this.#prng.pick(handles);
    if (this.#prng.chance(0.7)) return own;
    const children = [...this.#options.ledger.mirror.runs.values()].filter(({ parent }) => parent !== null);
    const child = children.length === 0 ? null : this.#handleOf(this.#prng.pick(children).id);
    return child ?? own;
  }

  cancel(handle: ProgramHandle): void {
    const { world } = this.#options;
    world.trace(`the user cancels ${world.names.of(handle.id)}`);
    this.cancelled.add(handle.id);
    void this.#attempt(() => handle.cancel("no longer wanted"));
  }

  async retry(handle: ProgramHandle): Promise<void> {
    const { world } = this.#options;
    world.trace(`the user retries ${world.names.of(handle.id)}`);
    const next = await this.#attempt(() => handle.retry());
    if (next === null || next.id === handle.id) return;
    const label = `${world.names.of(handle.id)}'`;
    world.names.give(next.id, label);
    this.#adopt(next, label);
  }

  /** Sends an event. With a reference id it is sometimes sent twice, which must be one event. */
  async send(handle: ProgramHandle, name: EventName, isReferenced: boolean): Promise<void> {
    const { world } = this.#options;
    const id = `e${this.#events++}`;
    const referenceId = isReferenced ? `ref-${id}` : null;
    this.sentIds.add(id);
    world.trace(`the user sends ${name} ${id} to ${world.names.of(handle.id)}`);
    const options = referenceId === null ? {} : { referenceId };
    const once = async () => {
      const done = await this.#attempt(() => handle.events[name].send({ id }, options).then(() => true));
      if (done === true) this.sent.push({ runId: handle.id, name, id, referenceId });
    };
    void once();
    if (isReferenced && this.#prng.chance(0.5)) void once();
  }

  /** Returns null if the request was refused or failed. The user does not repeat it. */
  async #attempt<Result>(call: (client: Client, version: ProgramVersion) => Promise<Result>): Promise<Result | null> {
    const { world } = this.#options;
    if (this.#client === null || this.#version === null) return null;
    this.#pending += 1;
    try {
      return await call(this.#client, this.#version);
    } catch (error) {
      if (!isAikiError(error)) {
        world.violate("HARNESS", `A user received ${error instanceof Error ? error.stack : error}`);
        return never();
      }
      world.trace(`the user is refused: ${error.code}`);
      return null;
    } finally {
      this.#pending -= 1;
    }
  }
}
