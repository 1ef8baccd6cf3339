/**
 * Builds an image's tree without an engine: what COPY and WORKDIR say is done in a folder per stage, what RUN says is
 * run there. Only commands that stay in their folder are run.
 */

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { basename, join, posix, relative } from "node:path";
import type { Instruction, Stage } from "./dockerfile.ts";

/** Where a stage's files are, and what it says of the processes that run in it. */
export interface Built {
  /** The folder that stands for `/`. */
  root: string;
  workdir: string;
  env: Map<string, string>;
}

export interface BuildOptions {
  /** The folder that the build sees, and what of it is left out. */
  context: string;
  isIgnored: (path: string) => boolean;
  /** Where the stages' folders go. */
  directory: string;
}

/** Builds every stage in order; answers with the last. Throws when an instruction fails, or is none that it knows. */
export function buildImage(stages: readonly Stage[], options: BuildOptions): Built {
  const built = new Map<string, Built>();
  let last: Built | undefined;
  for (const [at, stage] of stages.entries()) {
    const base = built.get(stage.base);
    const root = join(options.directory, stage.name === "" ? `stage-${at}` : stage.name);
    mkdirSync(root, { recursive: true });
    if (base !== undefined) cpSync(base.root, root, { recursive: true, verbatimSymlinks: true });
    last = { root, workdir: base?.workdir ?? "/", env: new Map(base?.env) };
    for (const instruction of stage.instructions) carryOut(instruction, last, built, options);
    built.set(stage.name, last);
  }
  if (last === undefined) throw new Error("The Dockerfile has no stage.");
  return last;
}

/** What is said of the processes to come leaves the tree as it is. */
const descriptions: ReadonlySet<string> = new Set(["USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"]);

function carryOut(instruction: Instruction, stage: Built, built: Map<string, Built>, options: BuildOptions): void {
  const { keyword, text, line } = instruction;
  if (keyword === "WORKDIR") {
    stage.workdir = posix.resolve(stage.workdir, text);
    mkdirSync(join(stage.root, stage.workdir), { recursive: true });
  } else if (keyword === "ENV") {
    for (const [, name = "", value = ""] of text.matchAll(/(\w+)=(\S*)/g)) stage.env.set(name, value);
  } else if (keyword === "COPY") {
    copy(text, stage, built, options);
  } else if (keyword === "RUN") {
    run(text, stage);
  } else if (!descriptions.has(keyword)) {
    throw new Error(`Line ${line}: ${keyword} is not known here.`);
  }
}

function copy(text: string, stage: Built, built: Map<string, Built>, options: BuildOptions): void {
  const words = text.split(/\s+/);
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
  const paths = words.filter((word) => !word.startsWith("--"));
  const target = paths.at(-1) ?? "";
  const source = from === undefined ? undefined : built.get(from);
  if (from !== undefined && source === undefined) throw new Error(`There is no stage ${from} to copy from.`);
  const place = join(stage.root, posix.resolve(stage.workdir, target));
  for (const path of paths.slice(0, -1)) {
    const found = source === undefined ? join(options.context, path) : join(source.root, path);
    if (!existsSync(found)) throw new Error(`There is no ${path} to copy.`);
    const isFile = statSync(found).isFile();
    cpSync(found, isFile && target.endsWith("/") ? join(place, basename(path)) : place, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (one) => source !== undefined || !options.isIgnored(relative(options.context, one)),
    });
  }
}

function run(text: string, stage: Built): void {
  if (!/^(npm|npx|rm)( [\w@./=-]+)+$/.test(text) || / \/|\.\./.test(text)) {
    throw new Error(`"RUN ${text}" is no command that stays in its folder.`);
  }
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...Object.fromEntries(stage.env) };
  execFileSync("sh", ["-c", text], { cwd: join(stage.root, stage.workdir), env, stdio: ["ignore", 2, 2] });
}

/** Every file below a folder, relative to it; links are not followed. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}
