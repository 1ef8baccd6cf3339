/** For the other packages of Aiki; may change in any release. */

export { backoffMs, isTransient, keepAlive, pause, retryAfterOf } from "./transient.ts";
