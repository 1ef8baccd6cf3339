/** Builds the dashboard into the server package. Does nothing if the files that it is built from have not changed. */

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "vite";
import config from "./vite.config.ts";

const own = import.meta.dirname;
const stamp = join(own, "../packages/server/dist/dashboard.stamp");
const index = join(own, "../packages/server/dist/dashboard/index.html");

/** All files below the folder. */
function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

const parts = ["src", "public", "../packages/lib/src"].flatMap((folder) => filesIn(join(own, folder)));
const single = ["index.html", "build.ts", "vite.config.ts", "../package-lock.json"].map((name) => join(own, name));
const hash = createHash("sha256");
for (const file of [...parts, ...single].sort()) hash.update(relative(own, file)).update(readFileSync(file));
const current = hash.digest("hex");
const known = existsSync(stamp) && existsSync(index) ? readFileSync(stamp, "utf8") : "";
if (known !== current) {
  await build({ ...config, configFile: false, logLevel: "warn" });
  writeFileSync(stamp, current);
}
