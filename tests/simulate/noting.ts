/** A logger that logs nothing, and keeps what it was told of its place. */

import type { LogFields, Logger } from "@aikirun/lib";

class Noting implements Logger {
  readonly fields: LogFields;

  constructor(fields: LogFields) {
    this.fields = fields;
  }

  debug(): void {}
  info(): void {}
  warn(): void {}
  error(): void {}

  child(fields: LogFields): Logger {
    return new Noting({ ...this.fields, ...fields });
  }
}

export const notingLogger: Logger = new Noting({});

/** Where a call is recorded, as its logger was told. */
export function addressIn(logger: Logger): string | null {
  return logger instanceof Noting ? String(logger.fields.address) : null;
}
