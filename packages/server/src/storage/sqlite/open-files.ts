import { statSync } from "node:fs";
import { AikiError } from "@aikirun/lib";
import { isMissing } from "./failure.ts";

/**
 * The files of an open database, known by device and inode. On POSIX systems a file that is open can be deleted, moved
 * or replaced: SQLite continues to write to it, while other programs find another file or no file at its path. Windows
 * refuses all three, and has no inode to compare, so nothing is checked there.
 */
export class OpenFiles {
  readonly #identities = new Map<string, string>();

  /** Notes which file the path names now. Throws `STORAGE_FILE_LOST` when it names none. */
  add(path: string): void {
    const identity = identityOf(path);
    if (identity === null) throw lost(path);
    this.#identities.set(path, identity);
  }

  /** Throws `STORAGE_FILE_LOST` when a path no longer names the file that it named when it was added. */
  check(): void {
    if (process.platform === "win32") return;
    for (const [path, identity] of this.#identities) {
      if (identityOf(path) !== identity) throw lost(path);
    }
  }
}

/** Null when the path names no file. Throws the error of the operating system when it cannot look the path up. */
function identityOf(path: string): string | null {
  try {
    // As BigInt: some file systems have inodes that a double cannot hold exactly.
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
}

function lost(path: string): AikiError {
  const { pid } = process;
  return new AikiError(
    "STORAGE_FILE_LOST",
    `${path} was deleted, moved or replaced while this server used it, so this server records nothing more. ` +
      `On Linux a deleted file can be copied from /proc/${pid}/fd until process ${pid} ends. ` +
      "Then stop the server, put the files back or restore a backup, and start it again.",
    { ids: { path } },
  );
}
