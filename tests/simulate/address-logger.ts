/** A logger that logs nothing and keeps its fields, of which the simulation reads the address of a call. */

import type { LogFields, Logger } from "@aikirun/lib";

class AddressLogger implements Logger {
  readonly fields: LogFields;

  constructor(fields: LogFields) {
    this.fields = fields;
  }

  debug(): void {}
  info(): void {}
  warn(): void {}
  error(): void {}

  child(fields: LogFields): Logger {
    return new AddressLogger({ ...this.fields, ...fields });
  }
}

export const addressLogger: Logger = new AddressLogger({});

/** The address of a call, from the fields of its logger. */
export function addressIn(logger: Logger): string | null {
  return logger instanceof AddressLogger ? String(logger.fields.address) : null;
}
