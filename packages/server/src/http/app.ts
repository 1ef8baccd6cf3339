import { verbs } from "@aikirun/lib/protocol";
import { Hono } from "hono";
import { dashboardAt } from "./dashboard.ts";
import { fetchExchange, type Reply, toResponse } from "./exchange.ts";
import { checkHost } from "./origin.ts";
import { errorReply, faultReply, jsonReply } from "./replies.ts";
import { type HttpContext, readiness, respond, unexpected } from "./respond.ts";

/** Request in, Response out: mount it anywhere. Never rejects. */
export type Fetch = (request: Request) => Promise<Response>;

export function createApp(context: HttpContext): Fetch {
  const app = new Hono();
  // A proxy passes the base path on, or removes it.
  for (const base of new Set(["", context.basePath])) mount(app, base, context);
  app.notFound(() => toResponse(notFound()));
  app.onError((thrown) => toResponse(faultReply(thrown) ?? unexpected(thrown, context)));
  return async (request) => app.fetch(request);
}

function mount(app: Hono, base: string, context: HttpContext): void {
  for (const verb of verbs) {
    const path = `${base}/v1/${verb}`;
    app.post(path, async ({ req }) => toResponse(await respond(verb, fetchExchange(req.raw), context)));
    app.all(path, () => toResponse(methodNotAllowed("POST")));
  }
  app.get(`${base}/health/live`, () => toResponse(jsonReply(200, { status: "live" })));
  app.get(`${base}/health/ready`, async () => toResponse(await readiness(context)));
  for (const path of ["/health/live", "/health/ready"]) {
    app.all(base + path, () => toResponse(methodNotAllowed("GET, HEAD")));
  }
  mountDashboard(app, base, context);
}

/** The page of the dashboard answers every path that a browser opens and that is nothing else. */
function mountDashboard(app: Hono, base: string, { basePath, hosts }: HttpContext): void {
  const dashboard = dashboardAt(basePath);
  for (const name of dashboard.names) {
    if (name === "index.html") continue;
    app.get(`${base}/${name}`, ({ req }) => {
      checkHost(fetchExchange(req.raw), hosts);
      return dashboard.file(name);
    });
  }
  for (const path of new Set([base === "" ? "/" : base, `${base}/*`])) {
    app.get(path, ({ req }, next) => {
      const isRoot = req.path === base || req.path === `${base}/`;
      if (!isRoot && !(req.header("accept") ?? "").includes("text/html")) return next();
      checkHost(fetchExchange(req.raw), hosts);
      return Promise.resolve(dashboard.page());
    });
  }
  app.all(`${base}/`, () => toResponse(methodNotAllowed("GET, HEAD")));
}

function notFound(): Reply {
  return errorReply(404, "NOT_FOUND", `Nothing is here. The verbs are POST /v1/{${verbs.join(",")}}.`);
}

function methodNotAllowed(allow: string): Reply {
  return errorReply(405, "METHOD_NOT_ALLOWED", `Use ${allow}.`, { allow });
}
