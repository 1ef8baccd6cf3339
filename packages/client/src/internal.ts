/** For the other packages of Aiki; may change in any release. */

export { type Bounds, Fields, hasMethods, isRecord } from "./fields.ts";
export { backoffMs, isTransient, keepAlive, pause, retryAfterOf } from "./transient.ts";
