/** A server, a workflow and workers, for tests of how wake-ups reach workers. */

import { type Client, client, type RedisParams } from "@aikirun/client";
import { type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { type SubscriberStrategy, type Worker, type WorkerParams, worker } from "@aikirun/worker";
import { type Workflow, workflow } from "@aikirun/workflow";
import { v7 } from "uuid";

/** How the workers of a harness receive wake-ups. */
export interface HarnessOptions {
  subscriber: SubscriberStrategy;
  redis?: RedisParams;
  /** The Redis through which the server itself publishes wake-ups. */
  serverRedis?: string;
  /** Changes the server's API before workers use it. */
  wrapApi?: (api: Api) => Api;
  /** Called after a run was queued. */
  publishWakeUp?: (name: string, shardKey: string | undefined) => Promise<void>;
}

export interface JobInput {
  ms?: number;
  sleepMs?: number;
}

export interface StartedWorker {
  worker: Worker;
  /** The log lines of the worker from level info up, without their fields except the reason. */
  lines: string[];
  /** How many runs the worker executes now, and the most that it executed at once. */
  busy: { now: number; most: number };
  /** The run id of each execution of the step, in order. */
  done: string[];
}

export class WorkerHarness {
  readonly #options: HarnessOptions;
  readonly #server: Server;
  readonly #url: string;
  readonly #starter: Client;
  readonly #ends: Array<() => Promise<void>> = [];
  readonly name: string = `job-${v7()}`;

  private constructor(options: HarnessOptions, made: Server, url: string, starter: Client) {
    this.#options = options;
    this.#server = made;
    this.#url = url;
    this.#starter = starter;
  }

  static async open(options: HarnessOptions): Promise<WorkerHarness> {
    const { serverRedis } = options;
    const redis = serverRedis === undefined ? {} : { redis: serverRedis };
    const made = await server({ database: "memory:", logger: silentLogger, ...redis });
    const { url } = await made.listen({ port: 0 });
    return new WorkerHarness(options, made, url, await client({ url, logger: silentLogger }));
  }

  /** Starts a worker. `between` wraps the API that the worker uses. */
  async startWorker(params: WorkerParams = {}, between: (api: Api) => Api = (api) => api): Promise<StartedWorker> {
    const { redis, wrapApi = (api: Api) => api, subscriber } = this.#options;
    const lines: string[] = [];
    const aiki = await client({ url: this.#url, logger: gathering(lines), ...(redis === undefined ? {} : { redis }) });
    const api = between(wrapApi(aiki.api));
    const made = worker({ ...aiki, api }, { maxConcurrentWorkflowRuns: 3, subscriber, ...params });
    const started: StartedWorker = { worker: made, lines, busy: { now: 0, most: 0 }, done: [] };
    made.registry.add(this.job(this.name, started));
    this.#ends.push(async () => {
      await made.stop();
      await aiki.close();
    });
    await made.start();
    return started;
  }

  /** The workflow, as one worker executes it. */
  job(name: string, { busy, done }: Pick<StartedWorker, "busy" | "done">): Workflow {
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
    await this.#options.publishWakeUp?.(name, shardKey);
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

  /** Starts runs one after the other. Throws if they take so long that no wake-up can have caused their claims. */
  async receivesWakeUps(runs = 5): Promise<void> {
    const deadline = performance.now() + 1_500 * runs;
    for (let count = 0; count < runs; count += 1) await this.completes(await this.start());
    if (performance.now() > deadline) throw new Error("Runs began, but not because of their wake-ups.");
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
