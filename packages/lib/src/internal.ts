/** For the other packages of Aiki; may change in any release. */

export {
  addressOf,
  arrivalAddress,
  awaitedResult,
  childWaitAddress,
  openedWaitAddress,
  resultAddress,
  retryAddress,
  signalAddress,
  tryAddress,
  withdrawnAddress,
  withdrawnWait,
} from "./address.ts";
export { type BatchOptions, batcher } from "./batch.ts";
export {
  type ChildCall,
  childStarter,
  defaultTaskTimeoutMs,
  performer,
  starter,
  type TaskCall,
  type VersionReference,
} from "./contract.ts";
export { longestMs, signedMs, toMs } from "./duration.ts";
export { systemEnv } from "./env.ts";
export { receivedCode } from "./error.ts";
export { describeError, restoreError } from "./failure.ts";
export { type Bounds, Fields, hasMethods, isRecord } from "./fields.ts";
export { hashPayload, sha256 } from "./hash.ts";
export { childRunId, derivedRandom, derivedUuid } from "./id.ts";
export { decode, encode } from "./json.ts";
export { droppedLines } from "./log.ts";
export { logOutput } from "./log-output.ts";
export { logValue } from "./log-value.ts";
export { checkName } from "./name.ts";
export { definitionFields, present, readRetry, readSchemas, readStart } from "./options.ts";
export { backoffMs, keepAlive, pause } from "./pause.ts";
export { relationTo } from "./relation.ts";
export { checkRetryPolicy, maxAttemptsOf, retryDelayMs } from "./retry.ts";
export { farthestMs, isRunIdPrefix, mostErrors, runIdForm, storable } from "./rules.ts";
export { checkSchema, parseWith } from "./schema.ts";
export { parseServiceUrl, redactUrl, type UrlRules } from "./url.ts";
export { settlesWithin, type WaitEnd, type WaitOptions, waitUntil } from "./wait.ts";
