/** Runs what an image says it runs: as its user, with its variables, from its folder, and nothing else. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Built } from "./image.ts";

export interface Container {
  built: Built;
  /** `1000:1000`; only root can become it. */
  user: string;
  entrypoint: readonly string[];
  variables: Readonly<Record<string, string>>;
}

/** One process of the image, and all that it says. */
export interface Started {
  /** Undefined when it could not be started. */
  pid: number | undefined;
  said(): string;
  /** Resolves when it says this; rejects when it ends without. */
  says(text: string): Promise<void>;
  /** Resolves with the exit code, or the signal's name. */
  ended: Promise<number | string>;
  stop(signal: NodeJS.Signals): void;
}

/** `words` follow the entrypoint, as those after the image's name do. */
export function start(container: Container, words: readonly string[]): Started {
  return run(container, [...container.entrypoint, ...words]);
}

/** A command in the same place, such as a health check. */
export function run({ built, user, variables }: Container, command: readonly string[]): Started {
  const [program = "", ...args] = command;
  const [uid, gid] = user.split(":").map(Number);
  const identity = process.getuid?.() === 0 ? { uid, gid } : {};
  const child = spawn(program === "node" ? process.execPath : program, args, {
    cwd: join(built.root, built.workdir),
    env: { PATH: process.env.PATH, ...Object.fromEntries(built.env), ...variables },
    stdio: ["ignore", "pipe", "pipe"],
    ...identity,
  });
  return watched(child);
}

function watched(child: ChildProcess): Started {
  let text = "";
  const heard = new EventTarget();
  const hear = (chunk: unknown): void => {
    text += String(chunk);
    heard.dispatchEvent(new Event("more"));
  };
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  const ended = once(child, "exit").then(([code, signal]) => code ?? signal);
  const said = () => text;
  return {
    pid: child.pid,
    said,
    ended,
    stop: (signal) => {
      child.kill(signal);
    },
    async says(wanted) {
      const over = ended.then(() => true);
      while (!text.includes(wanted)) {
        const more = new Promise<boolean>((resolve) =>
          heard.addEventListener("more", () => resolve(false), { once: true }),
        );
        if (await Promise.race([more, over])) throw new Error(`It ended without saying ${wanted}:\n${text}`);
      }
    },
  };
}
