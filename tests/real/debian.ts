/** Installs packages of Debian, if the tests run as root there. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * Installs the package without starting its services; if that fails, once more with new lists of packages. Returns
 * whether it succeeded.
 */
export async function installPackage(name: string): Promise<boolean> {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return false;
  // With run level 1, no service is started.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const apt = (...args: string[]) => run("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120", ...args], { env });
  const install = () => apt("install", "-y", "--no-install-recommends", name);
  try {
    await install().catch(() => apt("update").then(install));
    return true;
  } catch (thrown) {
    console.error(`apt-get did not install ${name}: ${String(thrown)}`);
    return false;
  }
}
