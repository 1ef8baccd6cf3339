/** Checks every file in git, and every new file, against the rules. Prints one line for each violation. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { check } from "./tidy/check.ts";

const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
  encoding: "utf8",
});
const paths = [...new Set(listed.split("\0"))].filter(
  (path) => /(\.tsx?|(^|\/)package\.json)$/.test(path) && existsSync(path),
);
const found = check(new Map(paths.map((path) => [path, readFileSync(path, "utf8")])));
for (const { path, line, rule, message } of found) console.log(`${path}:${line} ${rule} ${message}`);
console.log(found.length === 0 ? `tidy: ${paths.length} files` : `tidy: ${found.length} violations`);
process.exitCode = found.length === 0 ? 0 : 1;
