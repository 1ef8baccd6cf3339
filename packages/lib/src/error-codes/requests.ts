/** Error codes of invalid values, and of requests between client, worker and server. */

/** Errors of values and options. */
export const valueCodes = {
  UNSERIALIZABLE: {
    retryable: false,
    meaning: "JSON cannot carry the value; the message names its path.",
    remedy: "Convert it: dates to strings, maps to objects, and so on.",
  },
  PAYLOAD_TOO_LARGE: {
    retryable: false,
    meaning: "The value has more than 2 MB as JSON.",
    remedy: "Store it elsewhere and pass a reference.",
  },
  INVALID_PAYLOAD: {
    retryable: false,
    meaning: "A payload is not JSON text.",
    remedy: "Use Aiki's own client; the message quotes the text.",
  },
  SCHEMA_MISMATCH: {
    retryable: false,
    meaning: "A value does not fit its schema; the message lists the issues.",
    remedy: "Change the value or the schema.",
  },
  INVALID_SCHEMA: {
    retryable: false,
    meaning: "A schema is not a Standard Schema, or it threw.",
    remedy: "Pass a zod, valibot or arktype schema.",
  },
  INVALID_DURATION: {
    retryable: false,
    meaning: "A duration is empty, negative, not finite or longer than 100 years, or has an unknown field.",
    remedy: "Write for example `{ minutes: 5 }`; only the `delay` of a start may be negative.",
  },
  INVALID_RETRY_POLICY: {
    retryable: false,
    meaning: "A field of a retry policy is missing, unknown or out of range.",
    remedy: "The message names the field.",
  },
  INVALID_NAME: {
    retryable: false,
    meaning: "A name is empty or too long, or it holds NUL or half of a surrogate pair.",
    remedy: "Use 1 to 255 whole characters; note that `slice` can cut an emoji in half.",
  },
  INVALID_KEY: {
    retryable: false,
    meaning: "The `key` of a task, or of one call of it, is not a string.",
    remedy: "Return or pass a string.",
  },
  INVALID_ID: {
    retryable: false,
    meaning: "A run id is not a UUID.",
    remedy: "Pass ids as Aiki returned them.",
  },
  INVALID_OPTION: {
    retryable: false,
    meaning: "An option of a start, a filter or a call is unknown or out of range.",
    remedy: "The message names the option.",
  },
  INVALID_CONFIG: {
    retryable: false,
    meaning: "A field of `client()`, `worker()`, `server()` or a definition is unknown or out of range.",
    remedy: "The message names the field.",
  },
  INVALID_CLIENT: {
    retryable: false,
    meaning: "A workflow version was started, or a worker created, without a client.",
    remedy: "Pass the client: `await client(…)`.",
  },
  INVALID_RUN: {
    retryable: false,
    meaning: "A task was started without the `run` of a handler.",
    remedy: "Pass the handler's first argument.",
  },
} as const;

/** Errors of requests between client, worker and server. */
export const requestCodes = {
  UNREACHABLE: {
    retryable: true,
    meaning: "No server answers at the url. Calls that can wait retry by themselves.",
    remedy: "Start the server, or check the url.",
  },
  UNAVAILABLE: {
    retryable: true,
    meaning:
      "The server is up but cannot answer: it is closing, has too many lists or large requests, or its database fails.",
    remedy: "Call again. Read the server's log, and send fewer lists or large requests at once.",
  },
  UNAUTHORIZED: {
    retryable: true,
    meaning: "The server does not accept the credentials: there is no API key, or it is unknown, expired or revoked.",
    remedy: "Check `apiKey`; `aiki keys list` shows the state of each key.",
  },
  FORBIDDEN: {
    retryable: true,
    meaning: "The API key lacks the scope that this call, or this signal, needs; the message names the scope.",
    remedy: "Use a key that has it; docs/security.md lists the scopes.",
  },
  BAD_REQUEST: {
    retryable: false,
    meaning: "A request violates the protocol.",
    remedy: "Use the same version for client and server.",
  },
  BAD_REPLY: {
    retryable: true,
    meaning: "The reply does not come from an Aiki server that this client understands.",
    remedy: "Check the url and the versions.",
  },
  BATCH_MISMATCH: {
    retryable: true,
    meaning: "The reply to a batch has a different number of results than the batch has items.",
    remedy: "Use the same version for client and server.",
  },
  FENCED: {
    retryable: true,
    meaning: "Another worker may hold the run by now, so this worker drops it. This code occurs only in logs.",
    remedy:
      "Nothing. If it is frequent, look for pauses longer than the lease. A failover of PostgreSQL also causes it.",
  },
  NOT_FOUND: {
    retryable: true,
    meaning: "HTTP 404: the server has no such path.",
    remedy: "The verbs are `POST /v1/<verb>`.",
  },
  METHOD_NOT_ALLOWED: {
    retryable: true,
    meaning: "HTTP 405: the path exists, but not for this method.",
    remedy: "See the `allow` header.",
  },
  UNSUPPORTED_MEDIA_TYPE: {
    retryable: true,
    meaning: "HTTP 415: the body is not sent as JSON, or is compressed.",
    remedy: "Send `content-type: application/json`, without `content-encoding`.",
  },
  FORBIDDEN_HOST: {
    retryable: true,
    meaning: "HTTP 403: the `host` header names a host that is not the server's.",
    remedy: "Add the host to `allowedHosts`.",
  },
  FORBIDDEN_ORIGIN: {
    retryable: true,
    meaning: "HTTP 403: a web page of another origin sent the request.",
    remedy: "Call the server from your backend.",
  },
  INTERNAL: {
    retryable: true,
    meaning: "HTTP 500: a fault of the server; `errorId` is in its log. From a command: a bug in Aiki.",
    remedy: "Report it with the log line; for a command, with its output when `NODE_DEBUG` is `aiki`.",
  },
} as const;
