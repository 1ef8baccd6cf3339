import { statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { AikiError } from "@aikirun/lib";
import type { Workflow } from "@aikirun/workflow";
import type { ExecutableVersion, Registrable } from "@aikirun/workflow/internal";

/** The absolute path of a module that a user names. Throws `NO_SUCH_FILE`. */
export function moduleFile(file: string): string {
  const path = resolve(file);
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) return path;
  throw new AikiError("NO_SUCH_FILE", `There is no file ${path}. Name the module that exports your workflows.`);
}

/** Every workflow and version that a module exports, default export included. Throws `NOTHING_EXPORTED`. */
export async function loadWorkflows(file: string): Promise<Registrable[]> {
  const module: Readonly<Record<string, unknown>> = await import(pathToFileURL(file).href);
  const found = new Set<Registrable>();
  for (const exported of Object.values(module)) collect(exported, found);
  if (found.size > 0) return [...found];
  throw new AikiError(
    "NOTHING_EXPORTED",
    `${file} exports no workflow. Export what workflow({ name }) or its v("1.0.0", …) returns.`,
  );
}

/** Also searches one level down: for the exports of a CommonJS module, and for arrays and records of workflows. */
function collect(exported: unknown, found: Set<Registrable>, depth = 0): void {
  if (typeof exported !== "object" || exported === null || depth > 1) return;
  if (isWorkflow(exported) || isVersion(exported)) {
    found.add(exported);
    return;
  }
  for (const inner of Object.values(exported)) collect(inner, found, depth + 1);
}

function isWorkflow(exported: object): exported is Workflow {
  return (
    "v" in exported && typeof exported.v === "function" && "versions" in exported && exported.versions instanceof Map
  );
}

function isVersion(exported: object): exported is ExecutableVersion {
  return "versionId" in exported && "handler" in exported && typeof exported.handler === "function";
}
