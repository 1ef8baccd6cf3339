/** Real processes for the tests: compiled, spawned, observed, and killed by pid at the end of a test. */

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
  /** Everything that it has printed to stdout and stderr. */
  readonly output: string;
  readonly exited: Promise<Exit>;
  readonly isUp: boolean;
  /** Resolves with the first match in the output. Rejects if the process ends or the deadline passes without one. */
  prints(pattern: RegExp, withinMs?: number): Promise<RegExpExecArray>;
  signal(signal: NodeJS.Signals): void;
  send(message: object): void;
}

const deadlineMs = 40_000;
const living = new Set<ChildProcess>();

// A stopped process would not detect that its parent has exited.
process.on("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});

/** Runs a script, relative to this folder, with `config` as JSON as its only argument. `log` is a file. */
export function run(script: string, config: unknown, log?: string, options: readonly string[] = []): Running {
  const path = resolve(import.meta.dirname, script);
  const program = path.endsWith(".ts") ? compiledProgram(path) : path;
  return start(script, [...options, program, JSON.stringify(config)], ["ipc"], log);
}

/** Runs a program that takes no configuration. */
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
  const listeners = new Set<() => void>();
  const file = log === undefined ? null : createWriteStream(log, { flags: "a" });
  const onOutput = (chunk: Buffer) => {
    output += chunk.toString();
    file?.write(chunk);
    for (const listener of listeners) listener();
  };
  child.stdout?.on("data", onOutput);
  child.stderr?.on("data", onOutput);
  // `close` comes after the last output, `exit` may come before it.
  const exited = once(child, "close").then(([code, signal]: unknown[]): Exit => {
    living.delete(child);
    file?.end();
    for (const listener of listeners) listener();
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
    prints: (pattern, withinMs = deadlineMs) =>
      new Promise((settled, reject) => {
        const end = (settle: () => void) => {
          clearTimeout(timer);
          listeners.delete(look);
          settle();
        };
        const look = () => {
          const match = pattern.exec(output);
          if (match !== null) end(() => settled(match));
          else if (!living.has(child)) end(() => reject(new Error(`${name} ended without ${pattern}:\n${output}`)));
        };
        const late = () => reject(new Error(`${name} did not say ${pattern} within ${withinMs} ms:\n${output}`));
        const timer = setTimeout(() => end(late), withinMs);
        listeners.add(look);
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

/** Kills processes, also stopped ones, and waits until they have exited. */
export async function end(...processes: Running[]): Promise<void> {
  for (const one of processes) one.signal("SIGKILL");
  await Promise.all(processes.map(({ exited }) => exited));
}

/** Calls `look` every 20 ms until it returns a value. Throws after the deadline. */
export async function until<Found>(
  what: string,
  look: () => Found | null | undefined | false | Promise<Found | null | undefined | false>,
  withinMs: number = deadlineMs,
): Promise<Found> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
