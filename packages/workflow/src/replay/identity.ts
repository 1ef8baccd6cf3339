/**
 * The identities that distinguish durable calls, independent of timing. Pure.
 *
 * The content of a call is its kind, its name, and its key or the hash of its input. Calls of the same content are
 * alike. A call is prompt when it is made in the microtasks that follow a delivery or the start of the handler;
 * JavaScript runs these in the same order every time. So a prompt call is identified by the delivery that it follows
 * and by its place among the alike calls there. A call that is made after non-durable asynchronous work is late, and is
 * identified by its branch: the durable call, or the branch of `run.map`, after which the code made it.
 */

/**
 * 62 bits of a hash, as 12 digits in base 36. Equal texts have equal hashes. A collision of different texts is so rare
 * that it is ignored.
 */
function hashOf(text: string): string {
  let low = 0x811c9dc5;
  let high = 0x9e3779b9;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul(high ^ unit ^ (low >>> 16), 0x85ebca6b);
  }
  return digits(mixed(low)) + digits(mixed(high));
}

/** Six digits in base 36 for the upper 31 bits. */
function digits(bits: number): string {
  return (bits >>> 1).toString(36).padStart(6, "0");
}

/** Spreads every bit of the input over all bits of the output. */
function mixed(bits: number): number {
  let value = bits ^ (bits >>> 16);
  value = Math.imul(value, 0x7feb352d);
  value ^= value >>> 15;
  value = Math.imul(value, 0x846ca68b);
  return value ^ (value >>> 16);
}

/** The identity of a call made in the drain of a delivery. `nth` counts its alike calls of that branch, from 0. */
export function promptIdentity(content: string, delivered: string, branch: string, nth: number): string {
  return hashOf(`${content}!${delivered}~${branch}.${nth}`);
}

/** The identity of a call made after non-durable asynchronous work. */
export function lateIdentity(content: string, branch: string): string {
  return hashOf(`${content}~${branch}`);
}

/**
 * The name of the branch that continues after the `nth` alike call that one branch makes in the same microtasks. `late`
 * is the identity that a late call would have.
 */
export function branchAfterNth(late: string, nth: number): string {
  return nth === 0 ? late : `${late}.${nth}`;
}

/** The identity of the `nth` alike call of a branch, for calls that are not recorded. */
export function unrecordedIdentity(from: string, nth: number): string {
  return hashOf(`${from}.${nth}`);
}

const besideEnd = "|";

/** The name of code that runs beside the call after which this branch continues, and not after that call. */
export function besideOf(branch: string): string {
  return branch + besideEnd;
}

/** The name of the branch. `place` is the name of a branch, or the result of `besideOf`. */
export function branchOf(place: string): string {
  return place.endsWith(besideEnd) ? place.slice(0, -besideEnd.length) : place;
}

/** The name of a branch of `run.map`. */
export function branchOfMap(map: string, key: string): string {
  return hashOf(`${map}[${key}]`);
}
