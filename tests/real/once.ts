/** A value that all test files of a run share: the first caller makes it, and the others wait for it. */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";

interface Said<Made> {
  made: Made | null;
  error: string | null;
}

/** `make` gets its own directory and the process with which the service must end. Its result is stored as JSON. */
export async function madeOnce<Made>(
  name: string,
  make: (directory: string, owner: number) => Promise<Made | null>,
): Promise<Made | null> {
  const { directory, owner } = inject("services");
  const file = join(directory, `${name}.json`);
  const place = join(directory, name);
  const isFirst = await mkdir(place).then(
    () => true,
    () => false,
  );
  if (isFirst) {
    const said = await outcomeOf(() => make(place, owner));
    await writeFile(`${file}.new`, JSON.stringify(said));
    await rename(`${file}.new`, file);
  }
  const said: Said<Made> = JSON.parse(await eventually(file));
  if (said.error !== null) throw new Error(said.error);
  return said.made;
}

async function outcomeOf<Made>(make: () => Promise<Made | null>): Promise<Said<Made>> {
  try {
    return { made: await make(), error: null };
  } catch (thrown) {
    return { made: null, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
  }
}

async function eventually(file: string): Promise<string> {
  for (;;) {
    const text = await readFile(file, "utf8").catch(() => null);
    if (text !== null) return text;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
