import { AikiError } from "@aikirun/lib";
import { isRecord } from "@aikirun/lib/internal";
import type { Served } from "@aikirun/lib/protocol";
import type { ExecutableVersion } from "../definition/version.ts";
import { duplicateVersion, type Workflow } from "../definition/workflow.ts";

/** A workflow with all its versions, including those defined later; or one version. */
export type Registrable = Workflow | ExecutableVersion;

/** What a worker serves. */
export interface Registry {
  /**
   * Adds a workflow or a version. Throws `AikiError` `DUPLICATE_VERSION` when the registry holds a version of the same
   * name and id with another handler, and `INVALID_CONFIG` for a value that is neither a workflow nor a version.
   */
  add(item: Registrable): this;
  /** Adds all of them, or none if one cannot be added. Throws like `add`. */
  addMany(items: readonly Registrable[]): this;
  /** Removes a workflow with all its versions, or one version, even if its workflow was added as a whole. */
  remove(item: Registrable): this;
  removeAll(): this;
  /** The versions that are served now. */
  serves(): Served[];
  /** The version to execute, or undefined when it is not served. */
  find(name: string, versionId: string): ExecutableVersion | undefined;
}

/** An empty registry. */
export function registry(): Registry {
  return new VersionRegistry();
}

class VersionRegistry implements Registry {
  readonly #workflows = new Set<Workflow>();
  /** By name, then by id. */
  readonly #versions = new Map<string, Map<string, ExecutableVersion>>();
  /** Versions that were removed from workflows added as a whole; by name, then by id. */
  readonly #removed = new Map<string, Set<string>>();

  add(item: Registrable): this {
    checkRegistrable(item);
    this.#refuseDuplicates(versionsOf(item));
    if (isWorkflow(item)) {
      this.#workflows.add(item);
      this.#removed.delete(item.name);
    } else {
      nested(this.#versions, item.name, () => new Map()).set(item.versionId, item);
      this.#removed.get(item.name)?.delete(item.versionId);
    }
    return this;
  }

  addMany(items: readonly Registrable[]): this {
    if (!Array.isArray(items)) throw invalid("addMany takes an array of workflows and versions");
    for (const item of items) checkRegistrable(item);
    this.#refuseDuplicates(items.flatMap(versionsOf));
    for (const item of items) this.add(item);
    return this;
  }

  remove(item: Registrable): this {
    checkRegistrable(item);
    if (isWorkflow(item)) {
      for (const workflow of this.#workflows) if (workflow.name === item.name) this.#workflows.delete(workflow);
      this.#versions.delete(item.name);
      this.#removed.delete(item.name);
    } else {
      this.#versions.get(item.name)?.delete(item.versionId);
      nested(this.#removed, item.name, () => new Set()).add(item.versionId);
    }
    return this;
  }

  removeAll(): this {
    this.#workflows.clear();
    this.#versions.clear();
    this.#removed.clear();
    return this;
  }

  serves(): Served[] {
    return [...this.#served().values()].map(({ name, versionId }) => ({ name, versionId }));
  }

  find(name: string, versionId: string): ExecutableVersion | undefined {
    const single = this.#versions.get(name)?.get(versionId);
    if (single !== undefined || this.#removed.get(name)?.has(versionId) === true) return single;
    for (const workflow of this.#workflows) {
      const version = workflow.name === name ? workflow.versions.get(versionId) : undefined;
      if (version !== undefined) return version;
    }
    return undefined;
  }

  /** All served versions, by `keyOf`. */
  #served(): Map<string, ExecutableVersion> {
    const served = new Map<string, ExecutableVersion>();
    const candidates = [...this.#workflows].flatMap(versionsOf);
    for (const versions of this.#versions.values()) candidates.push(...versions.values());
    for (const { name, versionId } of candidates) {
      const version = this.find(name, versionId);
      if (version !== undefined) served.set(keyOf(version), version);
    }
    return served;
  }

  #refuseDuplicates(added: readonly ExecutableVersion[]): void {
    const served = this.#served();
    for (const version of added) {
      const taken = served.get(keyOf(version));
      if (taken !== undefined && taken.handler !== version.handler) {
        throw duplicateVersion(version.name, version.versionId);
      }
      served.set(keyOf(version), version);
    }
  }
}

function keyOf({ name, versionId }: Served): string {
  return JSON.stringify([name, versionId]);
}

/** Names a common mistake: passing a task or a module namespace instead of a workflow. */
function checkRegistrable(item: unknown): void {
  const isNamed = isRecord(item) && typeof item.name === "string";
  if (isNamed && (item.versions instanceof Map || typeof item.handler === "function")) return;
  const what = isNamed ? `"${item.name}", which is neither` : "another value";
  throw invalid(`A registry accepts a workflow or a version, as workflow() or its v() returns it. Received ${what}`);
}

function invalid(problem: string): AikiError {
  return new AikiError("INVALID_CONFIG", `${problem}.`);
}

function isWorkflow(item: Registrable): item is Workflow {
  return "versions" in item;
}

function versionsOf(item: Registrable): ExecutableVersion[] {
  return isWorkflow(item) ? [...item.versions.values()] : [item];
}

function nested<Held>(map: Map<string, Held>, name: string, make: () => Held): Held {
  const held = map.get(name) ?? make();
  map.set(name, held);
  return held;
}
