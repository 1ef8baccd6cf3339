import { AikiError } from "./error.ts";
import { limits } from "./protocol/api.ts";
import { storable } from "./rules.ts";

/**
 * The name itself, once it is known to have 1 to 255 characters (any but NUL and lone surrogates).
 * `what` says whose name it is: `task`, `workflow`. Throws `AikiError` `INVALID_NAME`.
 */
export function checkName(name: string, what: string): string {
  if (typeof name !== "string") throw invalid(what, `must be a string, not ${typeof name}`);
  if (name.length === 0) throw invalid(what, "is empty; give it 1 to 255 characters");
  if (name.length > limits.nameLength) {
    throw invalid(what, `has ${name.length} characters; at most ${limits.nameLength} are allowed`);
  }
  if (!storable.test(name)) throw invalid(what, "holds NUL or half of a surrogate pair, which a database cannot store");
  return name;
}

function invalid(what: string, problem: string): AikiError {
  return new AikiError("INVALID_NAME", `The name of a ${what} ${problem}.`);
}
