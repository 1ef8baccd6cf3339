/** Users that start programs, send them events and read their results. They retry while a server is unavailable. */

import { type Client, client } from "@aikirun/client";
import { isAikiError, RunCancelledError, RunFailedError, silentLogger } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { Actions } from "../end-to-end/facts.ts";
import type { Prng } from "../simulate/prng.ts";
import { type ChaosProgramVersion, programVersion } from "./interpreter.ts";
import { type ChaosProgram, drawProgram, hasChoice, statusOf, tallyOf } from "./program.ts";

/** The result of one run that one client received. */
export interface ChaosReading {
  runId: RunId;
  result: string;
}

export interface ChaosUsers {
  /** The number of programs that have been started and whose result is not known. */
  readonly unfinished: number;
  readonly finished: number;
  /** Errors that no client should receive. */
  readonly clientErrors: string[];
  readonly readings: readonly ChaosReading[];
  /** How often users observed each kind of event. */
  readonly observed: ReadonlyMap<string, number>;
  /** Starts no further programs. Resolves when all have ended. */
  finish(): Promise<void>;
  /** Reads every result again, each from another server. */
  readAllAgain(): Promise<void>;
  /** Abandons all programs in progress. */
  close(): Promise<void>;
}

export interface ChaosUsersOptions {
  urls: readonly string[];
  prng: Prng;
  actions: Actions;
  /** The number of concurrent programs. */
  count: number;
}

/** The codes of errors after which the same call may succeed. */
const retryable = new Set(["UNREACHABLE", "UNAVAILABLE"]);

export async function startUsers({ urls, prng, actions, count }: ChaosUsersOptions): Promise<ChaosUsers> {
  const clients = await Promise.all(urls.map((url) => client({ url, logger: silentLogger })));
  const world: ChaosWorld = {
    clients,
    version: programVersion({ ledger: "/dev/null", sleeps: "/dev/null" }).version,
    actions,
    readings: [],
    observed: new Map(),
    isOver: false,
  };
  const clientErrors: string[] = [];
  let isEnding = false;
  let unfinished = 0;
  let finished = 0;
  const loop = async (user: number): Promise<void> => {
    const own = prng.fork(`user ${user}`);
    for (let turn = 0; !isEnding; turn += 1) {
      unfinished += 1;
      try {
        await new ProgramClient(world, own.fork(String(turn)), `user-${user}-${turn}`).run();
        finished += 1;
        unfinished -= 1;
      } catch (thrown) {
        if (!world.isOver) clientErrors.push(`user-${user}-${turn} received ${describeError(thrown)}`);
        return;
      }
    }
  };
  const loops = Array.from({ length: count }, (_, user) => loop(user));
  return {
    get unfinished() {
      return unfinished;
    },
    get finished() {
      return finished;
    },
    clientErrors,
    readings: world.readings,
    observed: world.observed,
    async finish() {
      isEnding = true;
      await Promise.all(loops);
    },
    readAllAgain: async () => {
      for (const [index, id] of [...actions.outputs.keys()].entries()) await new ChaosReader(world, index).read(id);
    },
    async close() {
      isEnding = true;
      world.isOver = true;
      await Promise.all(clients.map((one) => one.close()));
      await Promise.all(loops);
    },
  };
}

interface ChaosWorld {
  clients: readonly Client[];
  version: ChaosProgramVersion;
  actions: Actions;
  readings: ChaosReading[];
  observed: Map<string, number>;
  isOver: boolean;
}

function observe(world: ChaosWorld, what: string): void {
  world.observed.set(what, (world.observed.get(what) ?? 0) + 1);
}

/** Repeats the request until it succeeds or fails with an error that is not retryable. */
async function withRetries<Answer>(world: ChaosWorld, request: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await request();
    } catch (thrown) {
      if (world.isOver || !isAikiError(thrown) || !retryable.has(thrown.code)) throw thrown;
      observe(world, `calls that failed with ${thrown.code} and were repeated`);
    }
  }
}

/** Reads results through one of the clients. */
class ChaosReader {
  readonly #world: ChaosWorld;
  readonly #client: Client;

  constructor(world: ChaosWorld, nth: number) {
    const { clients } = world;
    const chosen = clients[nth % clients.length];
    if (chosen === undefined) throw new Error("There are no clients.");
    this.#world = world;
    this.#client = chosen;
  }

  /** How the run ended, as this client sees it. */
  async read(id: RunId): Promise<string> {
    const handle = this.#client.runs.get(id, this.#world.version);
    const result = await withRetries(this.#world, async () => {
      try {
        const output = await handle.result({ waitThroughStalls: true });
        this.#world.actions.outputs.set(id, output);
        return JSON.stringify(output);
      } catch (thrown) {
        if (thrown instanceof RunFailedError) return "failed";
        if (thrown instanceof RunCancelledError) return "cancelled";
        throw thrown;
      }
    });
    this.#world.readings.push({ runId: id, result });
    return result;
  }
}

/** One program, from start to end. */
class ProgramClient {
  readonly #world: ChaosWorld;
  readonly #prng: Prng;
  readonly #reference: string;
  readonly #program: ChaosProgram;

  constructor(world: ChaosWorld, prng: Prng, reference: string) {
    this.#world = world;
    this.#prng = prng;
    this.#reference = reference;
    this.#program = drawProgram(prng.fork("program"));
  }

  async run(): Promise<void> {
    const id = await this.#start();
    const reading = new ChaosReader(this.#world, this.#prng.below(8)).read(id);
    // Awaited below, unless another call fails before that.
    reading.catch(() => {});
    const second = this.#prng.chance(0.3) ? new ChaosReader(this.#world, this.#prng.below(8)).read(id) : null;
    second?.catch(() => {});
    const messages = tallyOf(this.#program).messages;
    await Promise.all(messages.map((n) => this.#sendMessage(id, n)));
    if (hasChoice(this.#program) && this.#prng.chance(0.6)) await this.#sendOptional(id);
    const pausing = this.#prng.chance(0.08) ? this.#pause(id, reading) : null;
    if (this.#program.ending === "cancel") await this.#cancel(id);
    await Promise.all([reading, second, pausing]);
  }

  /** Starts some programs twice, through different servers, which must give the same run. */
  async #start(): Promise<RunId> {
    const { version, clients, actions } = this.#world;
    const start = async (chosen: Client) => {
      const handle = await withRetries(this.#world, () =>
        version.start(chosen, this.#program, { referenceId: this.#reference }),
      );
      actions.started.set(handle.id, statusOf(this.#program));
      return handle.id;
    };
    const twice = this.#prng.chance(0.2);
    const starts = Array.from({ length: twice ? 2 : 1 }, () => start(this.#prng.pick(clients)));
    const ids = new Set(await Promise.all(starts));
    if (ids.size > 1) throw new Error(`${this.#reference} has several runs: ${[...ids].join(" and ")}`);
    if (twice) observe(this.#world, "starts repeated with the same reference id");
    const [id = ""] = ids;
    return id;
  }

  /** Sends a message before or after the run waits for it, and sometimes twice. */
  async #sendMessage(id: RunId, n: number): Promise<void> {
    await pause(this.#prng.pick([0, 0, 50, 400, 1_200]));
    const referenceId = `message-${n}`;
    const send = () => {
      const chosen = this.#prng.pick(this.#world.clients).runs.get(id, this.#world.version);
      return withRetries(this.#world, () => chosen.events.message.send({ n }, { referenceId }));
    };
    const twice = this.#prng.chance(0.2);
    await Promise.all(twice ? [send(), send()] : [send()]);
    if (twice) observe(this.#world, "events repeated with the same reference id");
    this.#world.actions.sent.push({ runId: id, name: "message", referenceId });
  }

  /** Sends the optional event. The run may already have ended. */
  async #sendOptional(id: RunId): Promise<void> {
    await pause(this.#prng.pick([0, 100, 500]));
    const handle = this.#prng.pick(this.#world.clients).runs.get(id, this.#world.version);
    const isSent = await this.#unlessEnded(() => handle.events.optional.send("now", { referenceId: "optional" }));
    if (isSent) this.#world.actions.sent.push({ runId: id, name: "optional", referenceId: "optional" });
  }

  /** Repeats `resume` until the run ends, because an abandoned pause request may arrive later. */
  async #pause(id: RunId, reading: Promise<string>): Promise<void> {
    const handle = this.#prng.pick(this.#world.clients).runs.get(id);
    let isOver = false;
    const over = reading.then(() => {
      isOver = true;
    });
    if (await this.#unlessEnded(() => handle.pause())) observe(this.#world, "runs paused and resumed");
    await pause(this.#prng.pick([0, 100, 600]));
    while (!isOver) {
      await this.#unlessEnded(() => handle.resume());
      await Promise.race([over, pause(1_000)]);
    }
  }

  async #cancel(id: RunId): Promise<void> {
    const handle = this.#prng.pick(this.#world.clients).runs.get(id);
    await pause(this.#prng.pick([50, 500, 1_500]));
    await withRetries(this.#world, () => handle.cancel("enough"));
  }

  /** Returns false if the run has ended. */
  async #unlessEnded(request: () => Promise<void>): Promise<boolean> {
    try {
      await withRetries(this.#world, request);
      return true;
    } catch (thrown) {
      if (isAikiError(thrown) && (thrown.code === "RUN_FINAL" || thrown.code === "ILLEGAL_STATE")) return false;
      throw thrown;
    }
  }
}

function pause(ms: number): Promise<void> {
  return ms === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}

function describeError(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return `${isAikiError(thrown) ? `${thrown.code}: ` : ""}${thrown.message}`;
}
