import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type FromWorker, isFromWorker, type ToWorker, type WorkerProcessOptions } from "./messages.ts";

/** Receives the events of a supervisor; the command prints them. */
export interface SupervisorListener {
  /** The worker has started; `serves` are the workflow versions that it serves, as `name@version`. */
  ready(serves: string[]): void;
  /** The sources cannot be served; the supervisor waits for a change. */
  broken(message: string): void;
  /** The worker process ended by itself; another one starts after `againInMs`. */
  crashed(workerId: string, how: string, againInMs: number): void;
  /** The worker was killed because its event loop was blocked for `silentMs`. */
  blocked(workerId: string, silentMs: number): void;
}

export interface SupervisorOptions {
  workerOptions: Omit<WorkerProcessOptions, "workerId">;
  /** A worker that sends no message for this time is killed; null: it is never killed. Milliseconds. */
  silenceLimitMs: number | null;
  listener: SupervisorListener;
}

/** How long a worker may take to end by itself. Milliseconds. */
const stopMs = 7_000;
/** How long sources may take to compile and load. Milliseconds. */
const loadMs = 60_000;
/** The pause before a crashed worker is started again. It doubles with each crash. Milliseconds. */
const firstPauseMs = 250;
/** The longest such pause. Milliseconds. */
const longestPauseMs = 10_000;

/** Keeps exactly one worker process alive: the next one starts after the previous one has ended. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #child: ChildProcess | null = null;
  #count = 0;
  #pauseMs = firstPauseMs;
  #restartTimer: NodeJS.Timeout | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  /** Whether this supervisor has requested that the child ends. */
  #ending = false;
  #closed = false;
  #lastChange: Promise<void> = Promise.resolve();

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#spawn();
  }

  /** Stops the worker, which releases its runs, then starts another one. */
  restart(): Promise<void> {
    this.#lastChange = this.#lastChange.then(async () => {
      await this.#end();
      this.#pauseMs = firstPauseMs;
      if (!this.#closed) this.#spawn();
    });
    return this.#lastChange;
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#lastChange = this.#lastChange.then(() => this.#end());
    return this.#lastChange;
  }

  /** Kills the worker, for a second Ctrl-C. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  #spawn(): void {
    clearTimeout(this.#restartTimer);
    const workerId = `dev-${++this.#count}`;
    const workerOptions: WorkerProcessOptions = { ...this.#options.workerOptions, workerId };
    const own = new URL(
      import.meta.url.endsWith(".ts") ? "./worker-process.ts" : "./worker-process.js",
      import.meta.url,
    );
    const child = fork(fileURLToPath(own), [JSON.stringify(workerOptions)], {
      execArgv: [...process.execArgv, "--import", import.meta.resolve("tsx")],
    });
    this.#child = child;
    this.#ending = false;
    let isBroken = false;
    child.on("message", (message) => {
      if (!isFromWorker(message)) return;
      isBroken ||= message.type === "broken";
      this.#received(child, workerId, message);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(this.#watchdog);
      if (this.#child === child) this.#child = null;
      if (!this.#ending && !isBroken) this.#crashed(workerId, signal ?? `exit code ${code}`);
    });
    child.on("error", () => {});
    this.#watch(child, workerId, loadMs);
  }

  #received(child: ChildProcess, workerId: string, message: FromWorker): void {
    this.#watch(child, workerId, this.#options.silenceLimitMs ?? 0);
    switch (message.type) {
      case "ready":
        this.#pauseMs = firstPauseMs;
        this.#options.listener.ready(message.serves);
        break;
      case "broken":
        this.#options.listener.broken(message.message);
        break;
      case "alive":
        break;
      default:
        message satisfies never;
    }
  }

  /** Restarts the timer that kills a silent worker. */
  #watch(child: ChildProcess, workerId: string, limitMs: number): void {
    clearTimeout(this.#watchdog);
    const { silenceLimitMs, listener } = this.#options;
    if (silenceLimitMs === null) return;
    this.#watchdog = setTimeout(() => {
      listener.blocked(workerId, limitMs);
      child.kill("SIGKILL");
    }, limitMs);
  }

  #crashed(workerId: string, how: string): void {
    if (this.#closed) return;
    this.#options.listener.crashed(workerId, how, this.#pauseMs);
    this.#restartTimer = setTimeout(() => this.#spawn(), this.#pauseMs);
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
  }

  #end(): Promise<void> {
    clearTimeout(this.#restartTimer);
    const child = this.#child;
    if (child === null || child.exitCode !== null) return Promise.resolve();
    this.#ending = true;
    return new Promise((resolve) => {
      const kill = setTimeout(() => child.kill("SIGKILL"), stopMs);
      child.once("exit", () => {
        clearTimeout(kill);
        resolve();
      });
      const stop: ToWorker = { type: "stop" };
      if (child.connected) child.send(stop, () => {});
    });
  }
}
