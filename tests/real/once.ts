/** A value that all test files of a run share: the first caller creates it, and the others wait for it. */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";

/** The stored outcome of `make`. */
interface StoredOutcome<Made> {
  made: Made | null;
  error: string | null;
}

/**
 * `make` gets its own directory, and the id of the process whose exit must end the service. Its result is stored as
 * JSON.
 */
export async function madeOnce<Made>(
  name: string,
  make: (directory: string, owner: number) => Promise<Made | null>,
): Promise<Made | null> {
  const { directory, owner } = inject("services");
  const file = join(directory, `${name}.json`);
  const ownDirectory = join(directory, name);
  const isFirst = await mkdir(ownDirectory).then(
    () => true,
    () => false,
  );
  if (isFirst) {
    const outcome = await outcomeOf(() => make(ownDirectory, owner));
    await writeFile(`${file}.new`, JSON.stringify(outcome));
    await rename(`${file}.new`, file);
  }
  const outcome: StoredOutcome<Made> = JSON.parse(await whenWritten(file));
  if (outcome.error !== null) throw new Error(outcome.error);
  return outcome.made;
}

async function outcomeOf<Made>(make: () => Promise<Made | null>): Promise<StoredOutcome<Made>> {
  try {
    return { made: await make(), error: null };
  } catch (thrown) {
    return { made: null, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
  }
}

/** Resolves with the text of the file as soon as the file exists. */
async function whenWritten(file: string): Promise<string> {
  for (;;) {
    const text = await readFile(file, "utf8").catch(() => null);
    if (text !== null) return text;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
