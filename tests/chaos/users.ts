/** Users who start programs, tell them what they wait for, and ask how they ended: each as often as it takes. */

import { type Client, client } from "@aikirun/client";
import { isAikiError, RunCancelledError, RunFailedError, silentLogger } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { Actions } from "../end-to-end/facts.ts";
import type { Prng } from "../simulate/prng.ts";
import { type ChaosProgramVersion, programVersion } from "./interpreter.ts";
import { type ChaosProgram, drawProgram, hasChoice, statusOf, tallyOf } from "./program.ts";

/** What one user was told of one run. */
export interface ChaosReading {
  runId: RunId;
  said: string;
}

export interface ChaosUsers {
  /** Begun, and not known to have ended. */
  readonly unfinished: number;
  readonly finished: number;
  /** What clients should never be told. */
  readonly surprises: string[];
  readonly readings: readonly ChaosReading[];
  /** How often users met something worth knowing, by what it was. */
  readonly met: ReadonlyMap<string, number>;
  /** Begins nothing new; resolves when everything begun has ended. */
  finish(): Promise<void>;
  /** Asks again for every result, of another server each. */
  readAgain(): Promise<void>;
  /** Gives up what is under way. */
  close(): Promise<void>;
}

export interface ChaosUsersOptions {
  urls: readonly string[];
  prng: Prng;
  deeds: Actions;
  /** Programs under way at once. */
  count: number;
}

/** What says that the same call may succeed later. */
const passing = new Set(["UNREACHABLE", "UNAVAILABLE"]);

export async function invite({ urls, prng, deeds, count }: ChaosUsersOptions): Promise<ChaosUsers> {
  const clients = await Promise.all(urls.map((url) => client({ url, logger: silentLogger })));
  const world: ChaosWorld = {
    clients,
    version: programVersion({ ledger: "/dev/null", naps: "/dev/null" }).version,
    deeds,
    readings: [],
    met: new Map(),
    isOver: false,
  };
  const surprises: string[] = [];
  let isEnding = false;
  let unfinished = 0;
  let finished = 0;
  const live = async (user: number): Promise<void> => {
    const own = prng.fork(`user ${user}`);
    for (let turn = 0; !isEnding; turn += 1) {
      unfinished += 1;
      try {
        await new Errand(world, own.fork(String(turn)), `user-${user}-${turn}`).run();
        finished += 1;
        unfinished -= 1;
      } catch (thrown) {
        if (!world.isOver) surprises.push(`user-${user}-${turn} was told ${describe(thrown)}`);
        return;
      }
    }
  };
  const lives = Array.from({ length: count }, (_, user) => live(user));
  return {
    get unfinished() {
      return unfinished;
    },
    get finished() {
      return finished;
    },
    surprises,
    readings: world.readings,
    met: world.met,
    async finish() {
      isEnding = true;
      await Promise.all(lives);
    },
    readAgain: async () => {
      for (const [index, id] of [...deeds.outputs.keys()].entries()) await new ChaosReader(world, index).read(id);
    },
    async close() {
      isEnding = true;
      world.isOver = true;
      await Promise.all(clients.map((one) => one.close()));
      await Promise.all(lives);
    },
  };
}

interface ChaosWorld {
  clients: readonly Client[];
  version: ChaosProgramVersion;
  deeds: Actions;
  readings: ChaosReading[];
  met: Map<string, number>;
  isOver: boolean;
}

function meet(world: ChaosWorld, what: string): void {
  world.met.set(what, (world.met.get(what) ?? 0) + 1);
}

/** Asks for as long as the answer is that it may be asked again. */
async function persistently<Answer>(world: ChaosWorld, ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      if (world.isOver || !isAikiError(thrown) || !passing.has(thrown.code)) throw thrown;
      meet(world, `calls given up with ${thrown.code} and asked anew`);
    }
  }
}

/** Asks through a client that others do not. */
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

  /** How the run ended, as this client is told. */
  async read(id: RunId): Promise<string> {
    const handle = this.#client.runs.get(id, this.#world.version);
    const said = await persistently(this.#world, async () => {
      try {
        const output = await handle.result({ waitThroughStalls: true });
        this.#world.deeds.outputs.set(id, output);
        return JSON.stringify(output);
      } catch (thrown) {
        if (thrown instanceof RunFailedError) return "failed";
        if (thrown instanceof RunCancelledError) return "cancelled";
        throw thrown;
      }
    });
    this.#world.readings.push({ runId: id, said });
    return said;
  }
}

/** One program, from its start to its end. */
class Errand {
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
    // Awaited below, unless something else fails before.
    reading.catch(() => {});
    const second = this.#prng.chance(0.3) ? new ChaosReader(this.#world, this.#prng.below(8)).read(id) : null;
    second?.catch(() => {});
    const news = tallyOf(this.#program).heard;
    await Promise.all(news.map((n) => this.#send(id, n)));
    if (hasChoice(this.#program) && this.#prng.chance(0.6)) await this.#whim(id);
    const pausing = this.#prng.chance(0.08) ? this.#pause(id, reading) : null;
    if (this.#program.ending === "last") await this.#cancel(id);
    await Promise.all([reading, second, pausing]);
  }

  /** Some start twice, through different servers: it is one run all the same. */
  async #start(): Promise<RunId> {
    const { version, clients, deeds } = this.#world;
    const start = async (chosen: Client) => {
      const handle = await persistently(this.#world, () =>
        version.start(chosen, this.#program, { referenceId: this.#reference }),
      );
      deeds.started.set(handle.id, statusOf(this.#program));
      return handle.id;
    };
    const twice = this.#prng.chance(0.2);
    const starts = Array.from({ length: twice ? 2 : 1 }, () => start(this.#prng.pick(clients)));
    const ids = new Set(await Promise.all(starts));
    if (ids.size > 1) throw new Error(`${this.#reference} is the runs ${[...ids].join(" and ")}`);
    if (twice) meet(this.#world, "starts doubled under one reference");
    const [id = ""] = ids;
    return id;
  }

  /** Some news come before anyone waits for them, some late, some twice. */
  async #send(id: RunId, n: number): Promise<void> {
    await pause(this.#prng.pick([0, 0, 50, 400, 1_200]));
    const referenceId = `news-${n}`;
    const send = () => {
      const chosen = this.#prng.pick(this.#world.clients).runs.get(id, this.#world.version);
      return persistently(this.#world, () => chosen.events.news.send({ n }, { referenceId }));
    };
    const twice = this.#prng.chance(0.2);
    await Promise.all(twice ? [send(), send()] : [send()]);
    if (twice) meet(this.#world, "events doubled under one reference");
    this.#world.deeds.sent.push({ runId: id, name: "news", referenceId });
  }

  /** The run may have ended without it. */
  async #whim(id: RunId): Promise<void> {
    await pause(this.#prng.pick([0, 100, 500]));
    const handle = this.#prng.pick(this.#world.clients).runs.get(id, this.#world.version);
    const isTaken = await this.#unlessEnded(() => handle.events.whim.send("now", { referenceId: "whim" }));
    if (isTaken) this.#world.deeds.sent.push({ runId: id, name: "whim", referenceId: "whim" });
  }

  /** A request that was given up may still arrive, even after the run was resumed: it is resumed until it ends. */
  async #pause(id: RunId, reading: Promise<string>): Promise<void> {
    const handle = this.#prng.pick(this.#world.clients).runs.get(id);
    let isOver = false;
    const over = reading.then(() => {
      isOver = true;
    });
    if (await this.#unlessEnded(() => handle.pause())) meet(this.#world, "runs paused and resumed");
    await pause(this.#prng.pick([0, 100, 600]));
    while (!isOver) {
      await this.#unlessEnded(() => handle.resume());
      await Promise.race([over, pause(1_000)]);
    }
  }

  async #cancel(id: RunId): Promise<void> {
    const handle = this.#prng.pick(this.#world.clients).runs.get(id);
    await pause(this.#prng.pick([50, 500, 1_500]));
    await persistently(this.#world, () => handle.cancel("enough"));
  }

  /** False when the run had ended. */
  async #unlessEnded(ask: () => Promise<void>): Promise<boolean> {
    try {
      await persistently(this.#world, ask);
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

function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return `${isAikiError(thrown) ? `${thrown.code}: ` : ""}${thrown.message}`;
}
