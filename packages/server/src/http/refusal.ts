import { AikiError, type ErrorCode } from "@aikirun/lib";

/** One thing that is wrong with a request, and where. */
export interface Issue {
  path: string;
  message: string;
}

/** A request that cannot be read as a whole. */
export class BadRequest extends AikiError {
  readonly issues: readonly Issue[];

  constructor(message: string, issues: readonly Issue[] = []) {
    super("BAD_REQUEST", message);
    this.issues = issues;
  }
}

/** A request that is refused with an HTTP status; `code` and the message say what to do. */
export class HttpRefusal extends AikiError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: ErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(code, message);
    this.status = status;
    this.headers = headers;
  }
}
