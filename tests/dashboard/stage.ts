/** A server in memory, a browser, and pages that collect everything that goes wrong in them. */

import { createServer, type Server as NodeServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { type Server, type ServerParams, server } from "@aikirun/server";
import { task } from "@aikirun/task";
import { type Worker, worker } from "@aikirun/worker";
import { event, workflow } from "@aikirun/workflow";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";

export interface OpenPage {
  page: Page;
  /** Messages of the console, uncaught errors, and requests that left the server. */
  problems: string[];
}

const charge = task({
  name: "charge",
  retry: { type: "fixed", maxAttempts: 5, delayMs: 3_600_000 },
  handler: (input: { fails: boolean }) => {
    if (input.fails) throw new Error("card declined");
    return { receipt: "r-1" };
  },
});

/** The error with a stack that is the same on every machine. */
function placed(error: Error, place: string): Error {
  error.stack = `${error.name}: ${error.message}\n    at handler (workflows/${place})`;
  return error;
}

export const orderV1 = workflow({ name: "order" }).v("1.2.0", {
  events: { approved: event<{ by: string }>() },
  handler: async (run, { kind }: { kind: "wait" | "fail" | "retry" | "ok" | "big" | "html" }) => {
    await run.step("reserve", () => ({ shelf: 4 }));
    await charge.start(run, { fails: kind === "retry" });
    if (kind === "wait") return run.events.approved.wait();
    if (kind === "fail") {
      const cause = placed(new TypeError("shelf is undefined"), "shelves.ts:12:9");
      throw placed(new Error("Out of stock", { cause }), "order.ts:34:32");
    }
    if (kind === "big") return "x".repeat(1_900_000);
    return kind === "html" ? "<img src=x onerror=alert(1)>" : { ok: true };
  },
});

export const loopV1 = workflow({ name: "loop" }).v("1.0.0", {
  handler: async (run, rounds: number) => {
    for (let round = 0; round < rounds; round++) await run.step("tick", () => round);
    return rounds;
  },
});

export const shipV1 = workflow({ name: "ship" }).v("1.0.0", {
  handler: async (run) => (await orderV1.startAsChild(run, { kind: "wait" })).result(),
});

/** A workflow that no worker serves. */
export const invoiceV1 = workflow({ name: "invoice" }).v("3.1.0", { handler: async () => "paid" });

export class DashboardStage {
  readonly browser: Browser;
  readonly server: Server;
  readonly url: string;
  readonly aiki: Client;
  #worker: Worker | null = null;
  #proxy: NodeServer | null = null;

  private constructor(browser: Browser, own: Server, url: string, aiki: Client) {
    this.browser = browser;
    this.server = own;
    this.url = url;
    this.aiki = aiki;
  }

  static async open(browser: Browser, params: ServerParams = {}): Promise<DashboardStage> {
    const own = await server({ database: "memory:", logger: silentLogger, ...params });
    const { url } = await own.listen({ port: 0 });
    return new DashboardStage(browser, own, url, await client({ server: own, logger: silentLogger }));
  }

  async startWorker(): Promise<void> {
    const own = worker(this.aiki, { id: "worker-eu-1" });
    own.registry.add(orderV1).add(loopV1).add(shipV1);
    await own.start();
    this.#worker = own;
  }

  /** A proxy that passes on what is below the path and answers 404 for everything else. Returns its url. */
  async proxyAt(path: string): Promise<string> {
    const proxy = createServer((incoming, outgoing) => {
      const { method, headers, url = "" } = incoming;
      if (!url.startsWith(`${path}/`) && url !== path) {
        outgoing.writeHead(404).end();
        return;
      }
      const passed = request(new URL(url, this.url), { method, headers }, (reply) => {
        outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(outgoing);
      });
      incoming.pipe(passed);
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", () => resolve()));
    this.#proxy = proxy;
    const address: AddressInfo | string | null = proxy.address();
    if (address === null || typeof address === "string") throw new Error("The proxy has no port.");
    return `http://localhost:${address.port}${path}`;
  }

  async page(url: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const problems: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("request", (sent) => {
      if (new URL(sent.url()).origin !== new URL(url).origin && !sent.url().startsWith("blob:"))
        problems.push(sent.url());
    });
    await page.goto(url);
    return { page, problems };
  }

  async close(): Promise<void> {
    await this.#worker?.stop();
    await this.aiki.close();
    this.#proxy?.closeAllConnections();
    this.#proxy?.close();
    await this.server.close();
  }
}
