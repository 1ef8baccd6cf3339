/** The own fields of an error, as the JSON text of one object, and back. */

import { encodeWithin } from "./json.ts";
import type { Payload } from "./protocol/run.ts";

/** How many own fields of one error are read at most. */
const mostFields = 100;

/**
 * The own enumerable fields of a thrown value that JSON can represent without loss, as an object of at most `most`
 * characters. Long texts are cut; fields that do not fit, or that throw when they are read, are left out. Undefined
 * when nothing remains. Never throws.
 */
export function detailsOf(thrown: object, isSkipped: (name: string) => boolean, most: number): Payload | undefined {
  const members: string[] = [];
  let size = 1;
  for (const name of namesOf(thrown).slice(0, mostFields)) {
    const value = isSkipped(name) ? undefined : fieldOf(thrown, name, most);
    if (value === undefined) continue;
    const member = `${JSON.stringify(name)}:${value}`;
    if (size + member.length + 1 > most) continue;
    size += member.length + 1;
    members.push(member);
  }
  return members.length === 0 ? undefined : `{${members.join(",")}}`;
}

/** What `detailsOf` recorded, by name; nothing for a text that it did not write. */
export function fieldsIn(details: Payload | undefined): Array<[string, unknown]> {
  try {
    const fields: unknown = JSON.parse(details ?? "{}");
    return typeof fields === "object" && fields !== null ? Object.entries(fields) : [];
  } catch {
    return [];
  }
}

/** The text, or its first `characters` and how long it was. */
export function cut(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters)}… (cut from ${text.length} characters)`;
}

function namesOf(thrown: object): string[] {
  try {
    return Object.keys(thrown);
  } catch {
    return [];
  }
}

function fieldOf(thrown: object, name: string, most: number): Payload | undefined {
  try {
    const value: unknown = Reflect.get(thrown, name);
    return encodeWithin(typeof value === "string" ? cut(value, most >> 2) : value, most);
  } catch {
    return undefined;
  }
}
