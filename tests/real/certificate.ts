/** Self-signed certificates. */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Creates `cert.pem` and `key.pem` for localhost and 127.0.0.1. Returns the text of the certificate. */
export async function certify(directory: string): Promise<string> {
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  const names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  await run("openssl", [...request, ...names, "-keyout", "key.pem", "-out", "cert.pem"], { cwd: directory });
  return readFile(join(directory, "cert.pem"), "utf8");
}
