import { AikiError, type EventDefinitions } from "@aikirun/lib";
import { checkName, definitionFields } from "@aikirun/lib/internal";
import { createVersion, type ExecutableVersion, type VersionOptions, type WorkflowVersion } from "./version.ts";

/** Options of a workflow. */
export interface WorkflowOptions {
  /** 1 to 255 characters, unique among a server's workflows. */
  name: string;
}

/** A workflow: a name and its versions. Several versions may be in use at the same time. */
export interface Workflow {
  /** The name that the workflow was defined with. */
  readonly name: string;
  /** The versions defined so far, by id. */
  readonly versions: ReadonlyMap<string, ExecutableVersion>;
  /**
   * Defines a version. Runs keep the version they were started with. Throws `AikiError` `DUPLICATE_VERSION` when the id
   * belongs to another handler; `INVALID_NAME`, `INVALID_RETRY_POLICY`, `INVALID_DURATION` or `INVALID_CONFIG` for
   * invalid options.
   */
  v<
    Input = void,
    Returned = unknown,
    Events extends EventDefinitions = Record<never, never>,
    Given = Input,
    Output = Returned,
  >(
    versionId: string,
    options: VersionOptions<Given, Input, Returned, Output, Events>,
  ): WorkflowVersion<Given, Output, Events>;
}

/**
 * Defines a workflow. Its method `v` defines the versions. Throws `AikiError` `INVALID_NAME`.
 *
 * @example
 * ```ts
 * import { task } from "@aikirun/task";
 * import { workflow } from "@aikirun/workflow";
 *
 * const greet = task({ name: "greet", handler: async (name: string) => `Hello, ${name}!` });
 *
 * export const hello = workflow({ name: "hello" });
 * export const helloV1 = hello.v("1.0.0", {
 *   async handler(run, input: { name: string }) {
 *     await run.sleep({ hours: 1 });
 *     return await greet.start(run, input.name);
 *   },
 * });
 * ```
 */
export function workflow(options: WorkflowOptions): Workflow {
  const fields = definitionFields(options, "workflow");
  fields.take("name");
  const name = checkName(options.name, "workflow");
  fields.done();
  const versions = new Map<string, ExecutableVersion>();
  return {
    name,
    versions,
    v(versionId, definition) {
      const version = createVersion(name, versionId, definition);
      const taken = versions.get(versionId);
      if (taken !== undefined && taken.handler !== version.handler) throw duplicateVersion(name, versionId);
      versions.set(versionId, version);
      return version;
    },
  };
}

export function duplicateVersion(name: string, versionId: string): AikiError {
  const message = `Workflow "${name}" has a version "${versionId}" with another handler; give the new one its own id.`;
  return new AikiError("DUPLICATE_VERSION", message, { ids: { workflow: name, versionId } });
}
