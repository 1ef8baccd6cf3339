/** For the other packages of Aiki; may change in any release. */

export type { ExecutableVersion } from "./definition/version.ts";
export { type Registrable, type Registry, registry } from "./registry/registry.ts";
export type { ActivationEnd, Execution, Host, ReportDraft } from "./replay/contract.ts";
export { createExecution } from "./replay/execution.ts";
export { fingerprintOf } from "./replay/fingerprint.ts";
export { type CodeOwner, ownerOfCurrentCode } from "./replay/points.ts";
