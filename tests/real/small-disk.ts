/** A disk of a few megabytes that a test can fill: a file system in memory. Only root on Linux may mount one. */

import { execFile } from "node:child_process";
import { mkdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface SmallDisk {
  /** Writes until the disk is full. */
  fill(): Promise<void>;
  /** Removes the file that `fill` wrote. */
  free(): Promise<void>;
  unmount(): Promise<void>;
}

/** Creates a directory and mounts the disk there. Returns null with a warning if that is not permitted. */
export async function smallDisk(directory: string, megabytes: number): Promise<SmallDisk | null> {
  await mkdir(directory, { recursive: true });
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=777`, "tmpfs", directory]);
  } catch (thrown) {
    console.error(`\nSKIPPED: a test of a full disk has to mount one, as root on Linux. ${thrown}\n`);
    return null;
  }
  const filler = join(directory, "filler");
  return {
    async fill() {
      const { bavail, bsize } = await statfs(directory);
      await writeFile(filler, Buffer.alloc(bavail * bsize));
    },
    free: () => rm(filler, { force: true }),
    async unmount() {
      await run("umount", ["--lazy", directory]);
    },
  };
}
