/** A server, a workflow and workers for tests of how workers learn of runs. */

import { type Client, client, type RedisParams } from "@aikirun/client";
import { type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { type SubscriberStrategy, type Worker, type WorkerParams, worker } from "@aikirun/worker";
import { type Workflow, workflow } from "@aikirun/workflow";
import { v7 } from "uuid";

/** How the workers of a workplace learn of runs. */
export interface Hearing {
  subscriber: SubscriberStrategy;
  redis?: RedisParams;
  /** The Redis through which the server itself publishes wake-ups. */
  serverRedis?: string;
  /** What the server's replies are before workers see them. */
  heard?: (api: Api) => Api;
  /** After a run was queued. */
  ring?: (name: string, shardKey: string | undefined) => Promise<void>;
}

export interface JobInput {
  ms?: number;
  sleepMs?: number;
}

export interface Hired {
  worker: Worker;
  /** Its lines of warnings and news, without their fields. */
  lines: string[];
  /** Runs that it executes now, and the most that it ever did at once. */
  busy: { now: number; most: number };
  /** Ids of runs, as often as their only step was executed. */
  done: string[];
}

export class Workplace {
  readonly #hearing: Hearing;
  readonly #server: Server;
  readonly #url: string;
  readonly #starter: Client;
  readonly #ends: Array<() => Promise<void>> = [];
  readonly name: string = `job-${v7()}`;

  private constructor(hearing: Hearing, made: Server, url: string, starter: Client) {
    this.#hearing = hearing;
    this.#server = made;
    this.#url = url;
    this.#starter = starter;
  }

  static async open(hearing: Hearing): Promise<Workplace> {
    const { serverRedis } = hearing;
    const rings = serverRedis === undefined ? {} : { redis: serverRedis };
    const made = await server({ database: "memory:", logger: silentLogger, ...rings });
    const { url } = await made.listen({ port: 0 });
    return new Workplace(hearing, made, url, await client({ url, logger: silentLogger }));
  }

  /** A worker at work; `between` stands between it and the server. */
  async hire(params: WorkerParams = {}, between: (api: Api) => Api = (api) => api): Promise<Hired> {
    const { redis, heard = (api: Api) => api, subscriber } = this.#hearing;
    const lines: string[] = [];
    const aiki = await client({ url: this.#url, logger: gathering(lines), ...(redis === undefined ? {} : { redis }) });
    const api = between(heard(aiki.api));
    const made = worker({ ...aiki, api }, { maxConcurrentWorkflowRuns: 3, subscriber, ...params });
    const hired: Hired = { worker: made, lines, busy: { now: 0, most: 0 }, done: [] };
    made.registry.add(this.job(this.name, hired));
    this.#ends.push(async () => {
      await made.stop();
      await aiki.close();
    });
    await made.start();
    return hired;
  }

  /** The workflow, as one worker executes it. */
  job(name: string, { busy, done }: Pick<Hired, "busy" | "done">): Workflow {
    const made = workflow({ name });
    made.v("1", {
      handler: async (run, { ms = 0, sleepMs = 0 }: JobInput) => {
        busy.now += 1;
        busy.most = Math.max(busy.most, busy.now);
        try {
          await run.step("work", async () => {
            done.push(run.id);
            await new Promise((resolve) => setTimeout(resolve, ms));
          });
        } finally {
          busy.now -= 1;
        }
        if (sleepMs > 0) await run.sleep({ milliseconds: sleepMs });
        return run.id;
      },
    });
    return made;
  }

  /** Queues a run and publishes a wake-up for it. */
  async start(input: JobInput = {}, shardKey?: string, name: string = this.name): Promise<string> {
    const id = await this.startSilently(input, shardKey, name);
    await this.#hearing.ring?.(name, shardKey);
    return id;
  }

  /** Queues a run without a wake-up. */
  async startSilently(input: JobInput = {}, shardKey?: string, name: string = this.name): Promise<string> {
    const spec = { id: v7(), name, versionId: "1", input: JSON.stringify(input) };
    const { results } = await this.#starter.api.start({
      runs: [{ ...spec, ...(shardKey === undefined ? {} : { shardKey }) }],
    });
    if (results[0]?.ok !== true) throw new Error(JSON.stringify(results));
    return spec.id;
  }

  /** Resolves when the run has ended; rejects unless it completed within the time. */
  async completes(id: string, withinMs = 20_000): Promise<void> {
    await (await this.#starter.runs.get(id)).waitFor("completed", { timeout: { milliseconds: withinMs } });
  }

  /** Runs with a wake-up begin one after the other, sooner than a worker would claim without one. */
  async hears(runs = 5): Promise<void> {
    const giveUpAt = performance.now() + 1_500 * runs;
    for (let count = 0; count < runs; count += 1) await this.completes(await this.start());
    if (performance.now() > giveUpAt) throw new Error("Runs began, but not because of their wake-ups.");
  }

  async statusOf(id: string): Promise<string> {
    return (await this.#starter.runs.get(id)).status();
  }

  /** Whether a lease of the run ended without a report. */
  async wasRecovered(id: string): Promise<boolean> {
    const { results } = await this.#starter.api.read({ runs: [{ runId: id, entries: { after: 0, limit: 100 } }] });
    const entries = results[0]?.ok === true ? results[0].entries : [];
    return entries.some(({ value }) => value.type === "marked" && value.mark === "recovered");
  }

  async close(): Promise<void> {
    await Promise.all(this.#ends.map((end) => end()));
    await this.#starter.close();
    await this.#server.close();
  }
}

function gathering(lines: string[]): Logger {
  const say = (level: string) => (message: string, fields?: LogFields) => {
    lines.push(`${level}: ${message}${fields?.reason === undefined ? "" : ` [${fields.reason}]`}`);
  };
  const logger: Logger = {
    debug: () => {},
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    child: () => logger,
  };
  return logger;
}
