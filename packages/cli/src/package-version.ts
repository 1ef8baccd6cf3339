import { createRequire } from "node:module";

const read: { version?: unknown } = createRequire(import.meta.url)("../package.json");

/** The version of this package. All packages of Aiki have the same one. */
export const packageVersion: string = String(read.version);
