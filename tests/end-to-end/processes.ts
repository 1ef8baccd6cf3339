/** Real processes for the tests: compiled, spawned, listened to, and ended by pid when a test is over. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { resolve } from "node:path";
import { compiledProgram } from "./compiled.ts";

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Running {
  readonly pid: number;
  /** Everything that it has said on stdout and stderr. */
  readonly output: string;
  readonly exited: Promise<Exit>;
  readonly isUp: boolean;
  /** The first match of the pattern in what it says; rejects when it ends, or the deadline passes, without it. */
  says(pattern: RegExp, withinMs?: number): Promise<RegExpExecArray>;
  signal(signal: NodeJS.Signals): void;
  send(message: object): void;
}

const deadlineMs = 40_000;
const living = new Set<ChildProcess>();

// One that is stopped would not notice that nobody listens to it any more.
process.on("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});

/** Runs a script, of this folder unless it is a path. Its one argument is `config` as JSON; `log` is a file. */
export function run(script: string, config: unknown, log?: string, options: readonly string[] = []): Running {
  const path = resolve(import.meta.dirname, script);
  const program = path.endsWith(".ts") ? compiledProgram(path) : path;
  return start(script, [...options, program, JSON.stringify(config)], ["ipc"], log);
}

/** Runs a program that knows nothing of tests. */
export function runFile(path: string): Running {
  return start(path, ["--import", import.meta.resolve("tsx"), "--conditions=@aikirun/source", path], []);
}

function start(name: string, args: string[], channel: Array<"ipc">, log?: string): Running {
  return running(name, spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe", ...channel] }), log);
}

function running(name: string, child: ChildProcess, log: string | undefined): Running {
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} could not be started.`);
  living.add(child);
  let output = "";
  const hearers = new Set<() => void>();
  const file = log === undefined ? null : createWriteStream(log, { flags: "a" });
  const heard = (chunk: Buffer) => {
    output += chunk.toString();
    file?.write(chunk);
    for (const hear of hearers) hear();
  };
  child.stdout?.on("data", heard);
  child.stderr?.on("data", heard);
  // `close` comes after the last output, `exit` may come before it.
  const exited = once(child, "close").then(([code, signal]: unknown[]): Exit => {
    living.delete(child);
    file?.end();
    for (const hear of hearers) hear();
    return { code: typeof code === "number" ? code : null, signal: isSignal(signal) ? signal : null };
  });
  return {
    pid,
    get output() {
      return output;
    },
    get isUp() {
      return living.has(child);
    },
    exited,
    says: (pattern, withinMs = deadlineMs) =>
      new Promise((settled, reject) => {
        const end = (settle: () => void) => {
          clearTimeout(timer);
          hearers.delete(look);
          settle();
        };
        const look = () => {
          const match = pattern.exec(output);
          if (match !== null) end(() => settled(match));
          else if (!living.has(child)) end(() => reject(new Error(`${name} ended without ${pattern}:\n${output}`)));
        };
        const late = () => reject(new Error(`${name} did not say ${pattern} within ${withinMs} ms:\n${output}`));
        const timer = setTimeout(() => end(late), withinMs);
        hearers.add(look);
        look();
      }),
    signal: (signal) => {
      child.kill(signal);
    },
    send: (message) => {
      if (!child.connected) throw new Error(`${name} has ended:\n${output}`);
      child.send(message);
    },
  };
}

function isSignal(value: unknown): value is NodeJS.Signals {
  return typeof value === "string" && value.startsWith("SIG");
}

/** Ends what a test left behind: kills it, also when it is stopped, and waits for its end. */
export async function end(...processes: Running[]): Promise<void> {
  for (const one of processes) one.signal("SIGKILL");
  await Promise.all(processes.map(({ exited }) => exited));
}

/** Looks every 20 ms until there is something; fails loudly when the deadline passes. */
export async function until<Found>(
  what: string,
  look: () => Found | null | undefined | false | Promise<Found | null | undefined | false>,
  withinMs: number = deadlineMs,
): Promise<Found> {
  const giveUpAt = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (Date.now() > giveUpAt) throw new Error(`Not within ${withinMs} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
