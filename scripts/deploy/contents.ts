/** What the image must be, before it runs: its Dockerfile's last stage, and the tree that was built. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { execForm, lastOf, type Stage } from "./dockerfile.ts";
import { type Built, filesIn } from "./image.ts";

const manifest = z.object({
  dependencies: z.record(z.string(), z.string()).default({}),
  devDependencies: z.record(z.string(), z.string()).default({}),
});

/** The most that the layers above Node's may weigh. Bytes. */
const most = 60_000_000;

export function stageComplaints(stages: readonly Stage[]): string[] {
  const last = stages.at(-1);
  if (last === undefined) return ["the Dockerfile has no stage"];
  const bases = new Set(stages.map(({ base }) => base).filter((base) => base.includes(":")));
  const [base = ""] = bases;
  const isRoot = !/^[1-9]\d*:[1-9]\d*$/.test(lastOf(last, "USER") ?? "");
  return [
    ...(bases.size === 1 && /^node:\d+-slim$/.test(base) ? [] : [`it is built from ${[...bases].join(" and ")}`]),
    ...(isRoot ? ["it does not say by number which user runs it, or that is root"] : []),
    ...["ENTRYPOINT", "CMD"]
      .filter((keyword) => execForm(lastOf(last, keyword)) === null)
      .map((keyword) => `${keyword} is not in exec form, so that a shell gets the signals`),
    ...(healthOf(last) === null ? ["it has no HEALTHCHECK in exec form"] : []),
  ];
}

/** The command of HEALTHCHECK, without its options; null in shell form. */
export function healthOf(stage: Stage): string[] | null {
  return execForm(lastOf(stage, "HEALTHCHECK")?.replace(/^(--\S+ )*CMD /, "") ?? null);
}

export function treeComplaints(built: Built): string[] {
  const place = join(built.root, built.workdir);
  const files = filesIn(built.root);
  const size = files.reduce((sum, file) => sum + (existsSync(join(built.root, file)) ? sizeOf(built, file) : 0), 0);
  const dangling = files.filter((file) => !existsSync(join(built.root, file)));
  const { devDependencies } = manifestIn(place);
  const modules = join(place, "node_modules");
  const unwanted = Object.keys(devDependencies).filter(
    (name) => existsSync(join(modules, name)) && !isNeeded(place, name),
  );
  const sources = files.filter((file) => /^[^/]+\/packages\/[^/]+\/(src|test)\/|\.test\.[cm]?[jt]s$/.test(file));
  return [
    ...(size > most ? [`it weighs ${Math.round(size / 1e6)} MB beside Node`] : []),
    ...dangling.map((file) => `${file} leads nowhere`),
    ...unwanted.map((name) => `${name} is only for development`),
    ...sources.filter((file) => !file.includes("node_modules")).map((file) => `${file} is only for development`),
  ];
}

/** Whether a package of ours needs it where it runs. */
function isNeeded(place: string, name: string): boolean {
  return packagesIn(place).some(({ dependencies }) => name in dependencies);
}

function packagesIn(place: string): Array<z.infer<typeof manifest>> {
  const names = filesIn(join(place, "packages")).flatMap((file) => /^([^/]+)\/package\.json$/.exec(file)?.[1] ?? []);
  return names.map((name) => manifestIn(join(place, "packages", name)));
}

function manifestIn(folder: string): z.infer<typeof manifest> {
  return manifest.parse(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")));
}

function sizeOf(built: Built, file: string): number {
  return statSync(join(built.root, file)).size;
}
