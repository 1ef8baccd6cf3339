/** Codes of runs: what a handler catches, what a caller of a run receives, and why a task's signal aborted. */

/** Errors that are thrown into a handler. */
export const handlerCodes = {
  TASK_FAILED: {
    retryable: true,
    meaning: "A task finally failed: no attempt follows (`TaskFailedError`). `cause` is its last error.",
    remedy: "Catch it and continue, or let the run fail.",
  },
  TASK_TIMED_OUT: {
    retryable: true,
    meaning: "One attempt of a task took longer than its timeout (`TaskTimeoutError`).",
    remedy: "Raise the `timeout`, or stop the work when `signal` aborts.",
  },
  CHILD_RUN_FAILED: {
    retryable: true,
    meaning: "A child failed or was cancelled (`ChildRunFailedError`); see `status` and `cause`.",
    remedy: "Catch it and continue, or let the run fail.",
  },
  EVENT_TIMED_OUT: {
    retryable: true,
    meaning: "A recorded `wait()` timed out, but the code has no timeout for it any more.",
    remedy: "Give the wait a timeout again, or catch this error.",
  },
  CHILD_RUN_CANCELLED: {
    retryable: true,
    meaning: "The child was cancelled. This is the `cause` of a `CHILD_RUN_FAILED`.",
    remedy: "Catch the `ChildRunFailedError` and continue, or let the run fail.",
  },
  AMBIGUOUS_CALL: {
    retryable: false,
    meaning: "Two alike calls cannot be distinguished. The run is stalled; nothing is lost.",
    remedy: "Give each call a `key`, each sleep a name, or use `run.map`; then `retry()`.",
  },
  NESTED_CALL: {
    retryable: false,
    meaning: "A durable call was made inside a step or a task, or on a run from outside its handler.",
    remedy: "Make the call in the handler itself.",
  },
  UNHANDLED_REJECTION: {
    retryable: true,
    meaning: "A promise of the handler rejected, and nothing handled it. It is retryable if its `cause` is.",
    remedy: "Await the promise, or catch its rejection.",
  },
  WAIT_WITHDRAWN: {
    retryable: true,
    meaning: "The wait was withdrawn: its abort signal aborted, or another call won `run.race`.",
    remedy: "None needed. You may catch the error where you await the wait.",
  },
  NON_RETRYABLE: {
    retryable: false,
    meaning: "Your code threw a `NonRetryableError`: it is not retried.",
    remedy: "None in Aiki: your own code decides when it throws the error.",
  },
} as const;

/** Errors that users of a run's handle, a client or a worker receive. */
export const callerCodes = {
  RUN_FAILED: {
    retryable: true,
    meaning: "The run failed, so `result()` throws a `RunFailedError`. Its `cause` is the recorded error.",
    remedy: "Remove the cause, then `retry()`.",
  },
  RUN_CANCELLED: {
    retryable: true,
    meaning: "The run was cancelled, so `result()` throws a `RunCancelledError`.",
    remedy: "`retry()` if that was a mistake.",
  },
  RUN_STALLED: {
    retryable: false,
    meaning:
      "The run is stalled, so `result()` throws a `RunStalledError`. The message says why, and `stall` has the reason.",
    remedy: "Remove the cause, then `retry()`; or `cancel()`. `result({ waitThroughStalls: true })` keeps waiting.",
  },
  RUN_TIMED_OUT: {
    retryable: true,
    meaning: "The recorded error of a run that took longer than its own `timeout`.",
    remedy: "Raise the timeout. The run's entries show which call took long.",
  },
  RUN_NOT_FOUND: {
    retryable: false,
    meaning: "This namespace has no run with this id.",
    remedy: "Check the id.",
  },
  RUN_FINAL: {
    retryable: false,
    meaning: "The run has ended, so nothing can change it.",
    remedy: "Read its result. `retry()` of a failed or cancelled run makes a new one.",
  },
  RUN_ID_CONFLICT: {
    retryable: false,
    meaning: "The run's id belongs to a run with other content.",
    remedy: "Let the client make ids.",
  },
  REFERENCE_CONFLICT: {
    retryable: false,
    meaning: "The `referenceId` belongs to a run with another input.",
    remedy: 'Use another reference, or `onConflict: "return_existing"`.',
  },
  ILLEGAL_STATE: {
    retryable: true,
    meaning: "The run's status does not allow this; the message names the status.",
    remedy: "Read `status()` first, or ignore the error.",
  },
  LIMIT_EXCEEDED: {
    retryable: false,
    meaning: "A payload, the waits or the journal exceed a limit. Nothing was recorded.",
    remedy: "Send less, or split the run into children.",
  },
  TOO_MANY_WAITS: {
    retryable: false,
    meaning: "The recorded error of a run that had more open waits than a run may have.",
    remedy: "Open fewer waits at the same time, or withdraw waits with an abort signal or `run.race`.",
  },
  UNKNOWN_EVENT: {
    retryable: false,
    meaning: "The workflow version of the handle does not declare the event.",
    remedy: "Send one of the events that the message names.",
  },
  DUPLICATE_VERSION: {
    retryable: false,
    meaning: "Another handler already has this version id.",
    remedy: "Give the new version its own id.",
  },
  WORKER_STOPPED: {
    retryable: false,
    meaning: "A worker was started after `stop()`.",
    remedy: "Make a new one with `worker()`.",
  },
  CLIENT_CLOSED: {
    retryable: true,
    meaning: "The client was closed before or during the call.",
    remedy: "Make a new one with `client()`.",
  },
  ABORTED: {
    retryable: true,
    meaning: "The caller's own `AbortSignal` ended the wait.",
    remedy: "Nothing; the run continues.",
  },
} as const;

/** The `reason` of a task's aborted `signal`, in addition to `TASK_TIMED_OUT` and the codes above. */
export const abortCodes = {
  RUN_ENDED: {
    retryable: true,
    meaning: "The run ended without waiting for this task.",
    remedy: "Stop the work.",
  },
  RUN_LEFT: {
    retryable: true,
    meaning: "This worker no longer holds the run.",
    remedy: "Stop the work; another worker continues the run.",
  },
  LEASE_LOST: {
    retryable: true,
    meaning: "The worker could not renew its lease in time.",
    remedy: "Stop the work; another worker continues the run.",
  },
  SHUTDOWN: {
    retryable: true,
    meaning: "The worker is stopping, and its time for running tasks has passed.",
    remedy: "Stop the work; another worker continues the run.",
  },
  EVICTED: {
    retryable: true,
    meaning: "The worker dropped a suspended execution, because it can no longer be resumed.",
    remedy: "Nothing.",
  },
  NOT_RESUMABLE: {
    retryable: true,
    meaning: "A suspended execution could not continue in memory; the run is replayed instead.",
    remedy: "Stop the work.",
  },
  GIVEN_UP: {
    retryable: true,
    meaning: "The worker could not report on the run, so it stopped executing it.",
    remedy: "Stop the work; another worker continues the run.",
  },
} as const;
