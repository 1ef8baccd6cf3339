import { createHash } from "node:crypto";
import { verbs } from "@aikirun/lib/protocol";

const style = `
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; color: #222; }
  code { background: #f2f2f2; padding: 0.1em 0.3em; border-radius: 3px; }
  @media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } code { background: #2a2a2a; } }
`;

/** The only style that the page's content security policy lets in. */
export const frontPageStyle: string = `sha256-${createHash("sha256").update(style).digest("base64")}`;

export const frontPage: string = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Aiki</title>
<style>${style}</style>
</head>
<body>
<h1>Aiki is running</h1>
<p>This is the server of a durable execution engine.
Workers and clients talk to it; there is little to see by browser.</p>
<ul>
<li>Look at runs: <code>aiki runs list</code>, then <code>aiki runs show &lt;id&gt;</code></li>
<li>Is it well? <a href="health/live"><code>/health/live</code></a>,
<a href="health/ready"><code>/health/ready</code></a></li>
<li>The wire: POST JSON to ${verbs.map((verb) => `<code>/v1/${verb}</code>`).join(", ")}</li>
</ul>
</body>
</html>
`;
