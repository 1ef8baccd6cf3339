import { verbs } from "@aikirun/lib/protocol";
import { Hono } from "hono";
import { fetchExchange, type Reply, toResponse } from "./exchange.ts";
import { frontPage, frontPageStyle } from "./front-page.ts";
import { checkHost } from "./origin.ts";
import { errorReply, faultReply, jsonReply, pageReply } from "./replies.ts";
import { type HttpContext, metricsReply, readiness, respond, unexpected } from "./respond.ts";

/** Request in, Response out: mount it anywhere. Never rejects. */
export type Fetch = (request: Request) => Promise<Response>;

export function createApp(context: HttpContext): Fetch {
  const app = new Hono();
  for (const verb of verbs) {
    const path = `/v1/${verb}`;
    app.post(path, async ({ req }) => toResponse(await respond(verb, fetchExchange(req.raw), context)));
    app.all(path, () => toResponse(methodNotAllowed("POST")));
  }
  app.get("/health/live", () => toResponse(jsonReply(200, { status: "live" })));
  app.get("/health/ready", async () => toResponse(await readiness(context)));
  app.get("/metrics", ({ req }) => metricsReply(fetchExchange(req.raw), context).then(toResponse));
  app.get("/", ({ req }) => {
    checkHost(fetchExchange(req.raw), context.hosts);
    return toResponse(pageReply(frontPage, frontPageStyle));
  });
  for (const path of ["/health/live", "/health/ready", "/metrics", "/"]) {
    app.all(path, () => toResponse(methodNotAllowed("GET, HEAD")));
  }
  app.notFound(() => toResponse(notFound()));
  app.onError((thrown) => toResponse(faultReply(thrown) ?? unexpected(thrown, context)));
  return async (request) => app.fetch(request);
}

function notFound(): Reply {
  return errorReply(404, "NOT_FOUND", `Nothing is here. The verbs are POST /v1/{${verbs.join(",")}}.`);
}

function methodNotAllowed(allow: string): Reply {
  return errorReply(405, "METHOD_NOT_ALLOWED", `Use ${allow}.`, { allow });
}
