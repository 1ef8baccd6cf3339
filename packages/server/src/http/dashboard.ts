/**
 * The dashboard: static files that the build puts beside this package's code. They are read once. A request chooses one
 * of them by its name, and no path of a file is made from a request.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { secure } from "./replies.ts";

/** Answers requests for the files of the dashboard. */
export interface Dashboard {
  /** The page, for every view: which one is shown is decided by its url. */
  page(): Response;
  /** The names of the other files, such as `assets/index-1a2b.js`. */
  readonly names: readonly string[];
  /** One of these files. */
  file(name: string): Response;
}

interface PageFile {
  name: string;
  type: string;
  body: Uint8Array<ArrayBuffer>;
}

/** From `src/http` and from `dist/http` alike. */
const folder = new URL("../../dist/dashboard/", import.meta.url);

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const missing = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Aiki</title></head>
<body>
<h1>Aiki is running</h1>
<p>The dashboard is not built. To build it, run <code>npm run build</code>, and start the server again.
The command line works without it: <code>aiki runs list</code>.</p>
</body>
</html>
`;

/** Shared by all servers of the process; null until one of them is created. */
let read: PageFile[] | null = null;

function files(): PageFile[] {
  read ??= filesIn(folder);
  return read;
}

/** `basePath`: where the server is reachable, such as `/x/y`; empty for the root. */
export function dashboardAt(basePath: string): Dashboard {
  const page = (): string => {
    const index = files().find(({ name }) => name === "index.html");
    const html = index === undefined ? missing : new TextDecoder().decode(index.body);
    return html.replace("<head>", `<head><base href="${basePath}/">`);
  };
  return {
    page: () => {
      const headers = { ...secure, "content-type": "text/html; charset=utf-8", "content-security-policy": pagePolicy };
      return new Response(page(), { headers });
    },
    get names() {
      return files().map(({ name }) => name);
    },
    file: (wanted) => {
      const found = files().find(({ name }) => name === wanted);
      if (found === undefined) return new Response(null, { status: 404 });
      const { body, type } = found;
      // The names of these files contain a hash of their content.
      const caching = wanted.startsWith("assets/") ? "public, max-age=31536000, immutable" : secure["cache-control"];
      return new Response(body, { headers: { ...secure, "content-type": type, "cache-control": caching } });
    },
  };
}

function filesIn(root: URL): PageFile[] {
  if (!existsSync(root)) return [];
  const top = fileURLToPath(root);
  const entries = readdirSync(root, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  return entries.flatMap(({ parentPath, name }) => {
    const path = `${parentPath}/${name}`;
    const type = types[extname(name)];
    const relative = path.slice(top.length).replaceAll("\\", "/").replace(/^\//, "");
    return type === undefined ? [] : [{ name: relative, type, body: new Uint8Array(readFileSync(path)) }];
  });
}
