/** Codes of runs: what a handler catches, what a caller of a run receives, and why a task's signal aborted. */

/** Errors that are thrown into a handler. */
export const handlerCodes = {
  TASK_FAILED: {
    retryable: true,
    meaning: "A task failed for good (`TaskFailedError`); `cause` is its last error.",
    remedy: "Catch it and go on, or let the run fail.",
  },
  TASK_TIMED_OUT: {
    retryable: true,
    meaning: "One attempt of a task took longer than its timeout (`TaskTimeoutError`).",
    remedy: "Raise the `timeout`, or end the work when `signal` aborts.",
  },
  CHILD_RUN_FAILED: {
    retryable: true,
    meaning: "A child failed or was cancelled (`ChildRunFailedError`); see `status` and `cause`.",
    remedy: "Catch it and go on, or let the run fail.",
  },
  EVENT_TIMED_OUT: {
    retryable: true,
    meaning: "A `wait()` without timeout found the record of one that timed out: a new version of the code removed it.",
    remedy: "Give the wait a timeout again, or catch this.",
  },
  CHILD_RUN_CANCELLED: {
    retryable: true,
    meaning: "The child was cancelled: the `cause` of a `CHILD_RUN_FAILED`.",
    remedy: "Catch the `ChildRunFailedError` and go on, or let the run fail.",
  },
  AMBIGUOUS_CALL: {
    retryable: false,
    meaning: "Two alike calls cannot be told apart. The run is stalled; nothing is lost.",
    remedy: "Give each a `key`, each sleep a name, or use `run.map`; then `retry()`.",
  },
  NESTED_CALL: {
    retryable: false,
    meaning: "A durable call was made inside a step or a task, or on a run from outside its handler.",
    remedy: "Make the call in the handler itself.",
  },
  UNHANDLED_REJECTION: {
    retryable: true,
    meaning: "A promise of the handler rejected, and nothing handled the rejection. It is as retryable as its `cause`.",
    remedy: "Await the promise, or catch its rejection.",
  },
  WAIT_WITHDRAWN: {
    retryable: true,
    meaning: "The wait was given up: its `signal` aborted, or another call won `run.race`.",
    remedy: "Nothing, or catch it where the wait is awaited.",
  },
  NON_RETRYABLE: {
    retryable: false,
    meaning: "Your code threw a `NonRetryableError`: no retry follows.",
    remedy: "Nothing; the error is your own.",
  },
} as const;

/** Errors that are thrown to a caller of a run, a client or a worker. */
export const callerCodes = {
  RUN_FAILED: {
    retryable: true,
    meaning: "`result()` of a run that failed (`RunFailedError`); `cause` is the recorded error.",
    remedy: "Mend what failed, then `retry()`.",
  },
  RUN_CANCELLED: {
    retryable: true,
    meaning: "`result()` of a run that was cancelled (`RunCancelledError`).",
    remedy: "`retry()` if it was a mistake.",
  },
  RUN_STALLED: {
    retryable: false,
    meaning:
      "`result()` of a run that is stalled (`RunStalledError`); the message says what happened, `stall` the reason.",
    remedy: "Remove the cause, then `retry()`, or `cancel()`. `result({ waitThroughStalls: true })` goes on waiting.",
  },
  RUN_TIMED_OUT: {
    retryable: true,
    meaning: "The recorded error of a run that took longer than its own `timeout`.",
    remedy: "Raise the timeout. The run's entries show which call took long.",
  },
  RUN_NOT_FOUND: {
    retryable: false,
    meaning: "There is no such run in this namespace.",
    remedy: "Check the id.",
  },
  RUN_FINAL: {
    retryable: false,
    meaning: "The run has ended; nothing changes it any more.",
    remedy: "Read its result; `retry()` makes a new run of a failed or cancelled one.",
  },
  RUN_ID_CONFLICT: {
    retryable: false,
    meaning: "The run's id is taken by a run with other content.",
    remedy: "Let the client make ids.",
  },
  REFERENCE_CONFLICT: {
    retryable: false,
    meaning: "The `referenceId` is taken by a run with another input.",
    remedy: 'Use another reference, or `onConflict: "return_existing"`.',
  },
  ILLEGAL_STATE: {
    retryable: true,
    meaning: "The run's state does not allow this; the message says which state it is in.",
    remedy: "Read `status()` first, or ignore it.",
  },
  LIMIT_EXCEEDED: {
    retryable: false,
    meaning: "A limit of payload, waits or journal was passed. Nothing was recorded.",
    remedy: "Send less; split the run into children.",
  },
  TOO_MANY_WAITS: {
    retryable: false,
    meaning: "The recorded error of a run that opened more waits at once than a run may have.",
    remedy: "Wait for fewer at once, or give up waits that are no longer needed, with a `signal` or `run.race`.",
  },
  UNKNOWN_EVENT: {
    retryable: false,
    meaning: "An event was sent that the workflow version of the handle does not declare.",
    remedy: "Send one of those that the message names.",
  },
  DUPLICATE_VERSION: {
    retryable: false,
    meaning: "A version id is taken by another handler.",
    remedy: "Give the new version its own id.",
  },
  WORKER_STOPPED: {
    retryable: false,
    meaning: "A worker was started after `stop()`.",
    remedy: "Make a new one with `worker()`.",
  },
  CLIENT_CLOSED: {
    retryable: true,
    meaning: "The client was closed before the call.",
    remedy: "Make a new one with `client()`.",
  },
  ABORTED: {
    retryable: true,
    meaning: "The caller's own `AbortSignal` ended the wait.",
    remedy: "Nothing; the run goes on.",
  },
} as const;

/** The `reason` of a task's aborted `signal`, besides `TASK_TIMED_OUT` and the codes above. */
export const abortCodes = {
  RUN_ENDED: {
    retryable: true,
    meaning: "The run ended without waiting for this task.",
    remedy: "End the work.",
  },
  RUN_LEFT: {
    retryable: true,
    meaning: "This worker no longer holds the run.",
    remedy: "End the work; another worker goes on.",
  },
  LEASE_LOST: {
    retryable: true,
    meaning: "The worker could not renew its lease in time.",
    remedy: "End the work; another worker goes on.",
  },
  SHUTDOWN: {
    retryable: true,
    meaning: "The worker is stopping, and its grace period has passed.",
    remedy: "End the work; another worker goes on.",
  },
  EVICTED: {
    retryable: true,
    meaning: "The worker dropped a suspended execution, because its run went on without it.",
    remedy: "Nothing.",
  },
  NOT_RESUMABLE: {
    retryable: true,
    meaning: "A suspended execution could not go on in memory; the run is replayed instead.",
    remedy: "End the work.",
  },
  GIVEN_UP: {
    retryable: true,
    meaning: "The worker gave up on the run.",
    remedy: "End the work; another worker goes on.",
  },
} as const;
