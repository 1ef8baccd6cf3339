import { posix } from "node:path";
import { type Import, type Rule, type SourceFile, type Violation, violation } from "./source.ts";

/** The packages that each package may import. Arrows point down only. */
const packages: Readonly<Record<string, readonly string[]>> = {
  cli: ["server", "worker", "client", "workflow", "lib"],
  server: ["redis", "lib"],
  worker: ["workflow", "client", "redis", "lib"],
  client: ["redis", "lib"],
  redis: ["lib"],
  task: ["lib"],
  workflow: ["lib"],
  lib: [],
};

/** The folders of the server. Files outside of them assemble the parts and may import all folders. */
const layers: Readonly<Record<string, readonly string[]>> = {
  http: ["auth", "engine", "core"],
  auth: ["storage"],
  engine: ["core", "storage", "delivery"],
  metrics: ["core", "engine", "storage"],
  move: ["core", "storage"],
  storage: ["core"],
  delivery: ["core"],
  core: [],
};

/** Rule 1: declared arrows only, no own `index.ts`, no cycles. */
export const arrows: Rule = (tree) => {
  const known = new Set(tree.sources.map((source) => source.path));
  return [...tree.sources.flatMap((source) => arrowsOf(source)), ...cycles(tree.sources, known)];
};

function arrowsOf(source: SourceFile): Violation[] {
  if (source.package === null) return [];
  return source.imports.flatMap((used) => {
    const message = used.specifier.startsWith(".")
      ? wrongFile(source, resolve(source, used))
      : wrongPackage(source, used.specifier);
    return message === null ? [] : [violation(source, used, "arrows", message)];
  });
}

function wrongPackage(source: SourceFile, specifier: string): string | null {
  const to = /^@aikirun\/([^/]+)/.exec(specifier)?.[1];
  if (to === undefined || source.test) return null;
  if (to === source.package) return `imports its own package ${specifier}: name the file`;
  if (packages[source.package ?? ""]?.includes(to) === true) return null;
  return `${source.package} -> ${to} is not a declared arrow`;
}

function wrongFile(source: SourceFile, target: string): string | null {
  if (!target.startsWith(`packages/${source.package}/`)) return `leaves its package for ${target}`;
  if (/\/index\.tsx?$/.test(target)) return `imports ${target} from inside its package: name the file`;
  const from = layerOf(source.path);
  const to = layerOf(target);
  if (source.package !== "server" || from === null || from === to || source.test) return null;
  const below = layers[from];
  if (below === undefined) return null;
  if (to === null) return `server/${from} imports ${target}, which assembles the parts`;
  return below.includes(to) ? null : `server/${from} -> server/${to} is not a declared arrow`;
}

function layerOf(path: string): string | null {
  return /^packages\/server\/src\/([^/]+)\//.exec(path)?.[1] ?? null;
}

function resolve(source: SourceFile, used: Import): string {
  return posix.normalize(posix.join(posix.dirname(source.path), used.specifier));
}

/** One violation for each cycle, with its shortest path. */
function cycles(sources: SourceFile[], known: ReadonlySet<string>): Violation[] {
  const edges = new Map(
    sources.map((source) => [
      source.path,
      source.imports
        .filter((used) => used.specifier.startsWith("."))
        .map((used) => ({ used, to: resolve(source, used) }))
        .filter((edge) => known.has(edge.to)),
    ]),
  );
  const reported = new Set<string>();
  return sources.flatMap((source) =>
    (edges.get(source.path) ?? []).flatMap(({ used, to }) => {
      const way = wayBetween(to, source.path, (path) => (edges.get(path) ?? []).map((edge) => edge.to));
      const key = way === null ? "" : [...way].sort().join();
      if (way === null || reported.has(key)) return [];
      reported.add(key);
      return [violation(source, used, "arrows", `cycle: ${[source.path, ...way].join(" -> ")}`)];
    }),
  );
}

function wayBetween(from: string, to: string, next: (path: string) => string[]): string[] | null {
  const cameFrom = new Map<string, string | null>([[from, null]]);
  for (const path of cameFrom.keys()) {
    if (path === to) return unwind(cameFrom, to);
    for (const after of next(path)) if (!cameFrom.has(after)) cameFrom.set(after, path);
  }
  return null;
}

function unwind(cameFrom: ReadonlyMap<string, string | null>, end: string): string[] {
  const way: string[] = [];
  for (let at: string | null = end; at !== null; at = cameFrom.get(at) ?? null) way.unshift(at);
  return way;
}
