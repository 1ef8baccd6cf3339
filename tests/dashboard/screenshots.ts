/** `npm run screenshots`: makes the pictures of docs/dashboard.md from a server with example runs. */

import { join } from "node:path";
import { openChromium } from "../real/chromium.ts";
import { DashboardStage, invoiceV1, orderV1, shipV1 } from "./stage.ts";

const folder = join(import.meta.dirname, "../../docs/images");
const browser = await openChromium();
const stage = await DashboardStage.open(browser);
await stage.startWorker();
const kinds = ["ok", "wait", "fail", "ok", "retry", "ok"] as const;
const handles = [];
for (let n = 0; n < 24; n++) {
  const kind = kinds[n % kinds.length] ?? "ok";
  handles.push(await orderV1.start(stage.aiki, { kind }, { referenceId: `order-${1_000 + n}`, tags: ["eu"] }));
}
const ship = await shipV1.start(stage.aiki);
await invoiceV1.start(stage.aiki, undefined, { shardKey: "eu" });
const settled = { ok: "completed", wait: "awaiting_event", fail: "failed", retry: "awaiting_retry" } as const;
for (const [n, handle] of handles.entries()) await handle.waitFor(settled[kinds[n % kinds.length] ?? "ok"]);
await handles[19]?.pause("the bank is down");
await ship.waitFor("awaiting_child_workflow");
const pictures = [
  { name: "runs", path: "/?zone=utc", text: "order-1023", options: {} },
  { name: "run-failed", path: `/runs/${handles[2]?.id}?zone=utc`, text: "Caused by", options: {} },
  { name: "run-waiting", path: `/runs/${ship.id}?zone=utc`, text: "Waits for event", options: { colorScheme: "dark" } },
  { name: "workers", path: "/workers?zone=utc", text: "worker-eu-1", options: {} },
] as const;
for (const { name, path, text, options } of pictures) {
  const { page } = await stage.page(stage.url + path, { viewport: { width: 1200, height: 720 }, ...options });
  await page.getByText(text).first().waitFor();
  await page.screenshot({ path: join(folder, `dashboard-${name}.png`) });
  await page.context().close();
}
await stage.close();
await browser.close();
