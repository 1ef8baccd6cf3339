/** An error of a command that has no code: the user reads the message only. */
export class CommandError extends Error {
  /** The exit status: 1 if the command failed, 2 if it was called with invalid arguments. */
  readonly status: 1 | 2;

  constructor(status: 1 | 2, message: string) {
    super(message);
    this.name = "CommandError";
    this.status = status;
  }
}

/** The arguments cannot be used; commander reports what it detects itself in the same form. */
export function usageError(message: string): CommandError {
  return new CommandError(2, message);
}
