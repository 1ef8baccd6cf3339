import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { AxeBuilder } from "@axe-core/playwright";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openChromium } from "../real/chromium.ts";
import { DashboardStage, invoiceV1, loopV1, orderV1, shipV1 } from "./stage.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await openChromium();
}, 300_000);
afterAll(() => browser?.close());

/** No rule of WCAG A or AA is broken. */
async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page })
    .withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"])
    .analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes[0]?.html])).toEqual([]);
}

describe("the dashboard of an empty server", () => {
  let stage: DashboardStage;
  beforeAll(async () => {
    stage = await DashboardStage.open(browser);
  });
  afterAll(() => stage.close());

  it("an empty list says how to start a run, and no worker is listed", async () => {
    const { page, problems } = await stage.page(stage.url);
    await page.getByText("There are no runs yet.").waitFor();
    await expectAccessible(page);
    await page.getByRole("link", { name: "Workers" }).click();
    await page.getByText("No worker is alive.").waitFor();
    await expectAccessible(page);
    expect(problems).toEqual([]);
  });

  it("a run and a page that do not exist say so", async () => {
    const { page } = await stage.page(`${stage.url}/runs/0190a000-0000-7000-8000-000000000001`);
    await page.getByRole("alert").getByText("RUN_NOT_FOUND").waitFor();
    await page.goto(`${stage.url}/nothing/here`);
    await page.getByText("There is no such page.").waitFor();
  });
});

describe("the dashboard of a server with runs", () => {
  let stage: DashboardStage;
  const ids = new Map<string, string>();
  const urlOf = (name: string, more = "") => `${stage.url}/runs/${ids.get(name)}${more}`;
  beforeAll(async () => {
    stage = await DashboardStage.open(browser);
    await stage.startWorker();
    for (const kind of ["ok", "wait", "fail", "retry", "big", "html"] as const) {
      const handle = await orderV1.start(stage.aiki, { kind }, { referenceId: `order-${kind}`, tags: ["eu"] });
      ids.set(kind, handle.id);
    }
    ids.set("ship", (await shipV1.start(stage.aiki)).id);
    ids.set("invoice", (await invoiceV1.start(stage.aiki, undefined, { shardKey: "eu" })).id);
    const settled = { ok: "completed", wait: "awaiting_event", fail: "failed", retry: "awaiting_retry" } as const;
    for (const [kind, status] of Object.entries(settled)) {
      expect(await stage.aiki.runs.get(ids.get(kind) ?? "").waitFor(status)).toMatchObject({ reached: true });
    }
    await stage.aiki.runs.get(ids.get("ship") ?? "").waitFor("awaiting_child_workflow");
    await stage.aiki.runs.get(ids.get("big") ?? "").waitFor("completed");
    await stage.aiki.runs.get(ids.get("html") ?? "").waitFor("completed");
  });
  afterAll(() => stage.close());

  it.each([
    ["light", {}],
    ["dark", { colorScheme: "dark" }],
    ["narrow", { viewport: { width: 380, height: 800 } }],
  ] as const)("the list and a run are accessible and fit the window: %s", async (_, options) => {
    const { page, problems } = await stage.page(stage.url, options);
    await page.getByText("order-fail").waitFor();
    await expectAccessible(page);
    const fits = () => page.evaluate("document.documentElement.scrollWidth <= innerWidth");
    expect(await fits()).toBe(true);
    await page.getByRole("button", { name: "Any status" }).click();
    await page.getByRole("checkbox", { name: "stalled" }).waitFor();
    await expectAccessible(page);
    await page.keyboard.press("Escape");
    await page.goto(`${stage.url}/workers`);
    await page.getByText("worker-eu-1").waitFor();
    await expectAccessible(page);
    expect(await fits()).toBe(true);
    await page.goto(`${stage.url}/?parentId=${ids.get("ship")}`);
    await page.getByText("Children of").waitFor();
    expect(await fits()).toBe(true);
    await page.goto(urlOf("fail", "?step=1"));
    await page.getByText("TypeError: shelf is undefined").first().waitFor();
    await expectAccessible(page);
    expect(await fits()).toBe(true);
    expect(problems).toEqual([]);
  });

  it("filters are in the url: a reload, the back button and a pasted link show the same list", async () => {
    const { page } = await stage.page(stage.url);
    await page.getByText("order-fail").waitFor();
    await page.getByRole("button", { name: "Any status" }).click();
    await page.getByRole("checkbox", { name: "failed" }).check();
    await page.keyboard.press("Escape");
    await page.getByText("order-ok").waitFor({ state: "detached" });
    const rows = () => page.getByRole("list", { name: "Runs" }).getByRole("listitem").count();
    expect(await rows()).toBe(1);
    const url = page.url();
    expect(url).toContain("status=failed");
    await page.reload();
    await page.getByText("order-fail").waitFor();
    expect(await rows()).toBe(1);
    const pasted = await stage.page(url);
    await pasted.page.getByText("order-fail").waitFor();
    expect(await pasted.page.getByText("order-ok").count()).toBe(0);
    await page.getByRole("link", { name: "order@1.2.0" }).click();
    await page.getByText("Caused by").waitFor();
    await page.goBack();
    await page.getByText("order-fail").waitFor();
    expect(page.url()).toBe(url);
    await page.getByRole("button", { name: "Remove all filters" }).click();
    await page.getByText("order-ok").waitFor();
  });

  it("a run is found by the beginning of its id or by its tags, and its children are a list", async () => {
    const { page } = await stage.page(`${stage.url}/?idPrefix=${ids.get("fail")?.toUpperCase().slice(0, -3)}`);
    await page.getByText("order-fail").waitFor();
    const list = page.getByRole("list", { name: "Runs" }).getByRole("listitem");
    expect(await list.count()).toBe(1);
    await page.goto(`${stage.url}/?tag=eu,%20,&errorCode=`);
    await page.getByText("order-fail").waitFor();
    expect(await list.count()).toBe(6);
    await page.goto(urlOf("ship", "?zone=utc"));
    await page.getByRole("link", { name: "Show as a list" }).click();
    await page.getByText("Waits for event approved").waitFor();
    expect([await list.count(), await page.getByRole("button", { name: "UTC" }).count()]).toEqual([1, 1]);
    await page.getByRole("button", { name: "Remove this filter" }).click();
    await page.getByText("order-ok").waitFor();
  });

  it("the list and the run page can be used with the keyboard alone", async () => {
    const { page } = await stage.page(stage.url);
    await page.getByText("order-fail").waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    const current = page.locator('li[aria-current="true"]');
    await current.waitFor();
    const name = (await current.getByRole("link").textContent()) ?? "";
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name }).waitFor();
    await page.keyboard.press("u");
    await page.getByText("order-fail").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("invoice");
    await page.keyboard.press("Enter");
    await page.getByText("no worker serves invoice@3.1.0 in shard eu").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "invoice@3.1.0" }).waitFor();
    await expect.poll(() => page.title()).toBe("invoice queued · Aiki");
    await page.keyboard.press("u");
    await page.getByText("no worker serves invoice@3.1.0 in shard eu").waitFor();
    expect(page.url()).toContain("name=invoice");
    expect(await page.title()).toBe("Runs · Aiki");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  });

  it("a run says why it does not move, down to the child that it waits for", async () => {
    const { page } = await stage.page(urlOf("ship"));
    await page.getByText("Waits for child").first().waitFor();
    await page.getByText("Waits for event approved").first().waitFor();
    await page.goto(urlOf("retry"));
    await page.getByText("attempt 1 failed: card declined").first().waitFor();
  });

  it("one switch shows all times in UTC, and every link keeps the choice", async () => {
    const { page } = await stage.page(urlOf("ok"), { timezoneId: "America/New_York" });
    const { createdAt } = await stage.aiki.runs.get(ids.get("ok") ?? "").view();
    const iso = new Date(createdAt).toISOString().replace("T", " ");
    await page.getByText("Created").first().waitFor();
    expect(await page.getByText(iso).count()).toBe(0);
    await page.getByRole("button", { name: "Local time" }).click();
    await page.getByText(iso).waitFor();
    await page.getByRole("link", { name: "Workers" }).click();
    await page.getByText("worker-eu-1").waitFor();
    expect(page.url()).toContain("zone=utc");
  });

  it("a payload is text, and of a large one the first 64 KB are shown", async () => {
    const { page, problems } = await stage.page(urlOf("html"));
    await page.getByText("<img src=x onerror=alert(1)>").first().waitFor();
    await page.goto(urlOf("big"));
    await page.getByText("The first 64 KB of 1856 KB are shown.").first().waitFor();
    const shown = await page.getByRole("region", { name: "output" }).textContent();
    expect(shown).toHaveLength(65_536);
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).first().click();
    expect((await saved).suggestedFilename()).toMatch(/^output-of-.*\.json$/);
    expect(problems).toEqual([]);
  });

  it("a text is copied, also over plain http from another machine", async () => {
    const { page, problems } = await stage.page(urlOf("ok"), { permissions: ["clipboard-read", "clipboard-write"] });
    await page.getByRole("button", { name: "Copy the id of the run" }).click();
    await page.getByText("copied", { exact: true }).waitFor();
    expect(await page.evaluate("navigator.clipboard.readText()")).toBe(ids.get("ok"));
    await page.addInitScript(`
      Object.defineProperty(window, "isSecureContext", { value: false });
      navigator.clipboard.writeText = undefined;
    `);
    await page.reload();
    await page.getByRole("button", { name: "Copy the reference" }).click();
    await page.getByText("copied", { exact: true }).waitFor();
    expect(await page.evaluate("navigator.clipboard.readText()")).toBe("order-ok");
    expect(problems).toEqual([]);
  });

  it("a view whose code cannot be loaded says so, and the other views can still be opened", async () => {
    const { page } = await stage.page(stage.url);
    await page.getByText("order-fail").waitFor();
    await page.route("**/assets/workers-page-*.js", (route) => route.fulfill({ status: 404 }));
    await page.getByRole("link", { name: "Workers" }).click();
    await page.getByRole("alert").getByText("This view cannot be shown.").waitFor();
    await page.getByRole("link", { name: "Runs" }).click();
    await page.getByText("order-fail").waitFor();
    await page.getByRole("link", { name: "Workers" }).click();
    await page.unroute("**/assets/workers-page-*.js");
    await page.getByRole("button", { name: "Reload" }).click();
    await page.getByText("worker-eu-1").waitFor();
  });

  it("actions change the run and ask first: an event, a pause with a reason, a cancellation", async () => {
    const handle = await orderV1.start(stage.aiki, { kind: "wait" });
    await handle.waitFor("awaiting_event");
    const { page } = await stage.page(`${stage.url}/runs/${handle.id}`);
    const dialog = page.getByRole("dialog");
    await page.getByRole("button", { name: "Pause" }).click();
    await expectAccessible(page);
    await dialog.getByLabel("Reason").fill("the bank is down");
    await dialog.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused (the bank is down)").first().waitFor();
    await page.getByRole("button", { name: "Resume" }).click();
    await dialog.getByRole("button", { name: "Resume" }).click();
    await page.getByText("Waits for event approved").first().waitFor();
    await page.getByRole("button", { name: "Send event" }).click();
    await dialog.getByLabel("Data").fill('{"by": "ada"');
    await dialog.getByRole("button", { name: "Send event" }).click();
    await dialog.getByRole("alert").waitFor();
    await dialog.getByLabel("Data").fill('{"by": 12345678901234567890}');
    await dialog.getByRole("button", { name: "Send event" }).click();
    await dialog.getByText("has the number 12345678901234567890").waitFor();
    await dialog.getByLabel("Data").fill('{"by": "ada"}');
    await dialog.getByRole("button", { name: "Send event" }).click();
    expect(await handle.result()).toEqual({ by: "ada" });
    await page.getByText("completed", { exact: true }).first().waitFor();

    const other = await orderV1.start(stage.aiki, { kind: "wait" });
    await page.goto(`${stage.url}/runs/${other.id}`);
    await page.getByRole("button", { name: "Cancel" }).click();
    await dialog.getByLabel("Reason").fill("no more");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Cancelled: no more").first().waitFor();
    await page.getByRole("button", { name: "Retry" }).click();
    await dialog.getByRole("button", { name: "Retry" }).click();
    await page.getByText("Retry of").waitFor();
    expect(page.url()).not.toContain(other.id);
  });

  it("a run with 10,000 entries has fewer than 200 rows in the page", async () => {
    const handle = await loopV1.start(stage.aiki, 10_000);
    await handle.result();
    const { page, problems } = await stage.page(`${stage.url}/runs/${handle.id}?step=9000`);
    await page.getByText("Timeline (10000 entries)").waitFor();
    const entries = page.getByRole("region", { name: "Entries" });
    await entries.getByText("tick #8999").waitFor();
    await expect.poll(() => entries.getByRole("listitem").count()).toBeLessThan(200);
    await page.goto(`${stage.url}/runs/${handle.id}`);
    const fold = page.getByRole("button", { name: "tick × 10000" });
    await fold.waitFor();
    expect(await entries.getByRole("listitem").count()).toBe(1);
    await fold.click();
    await entries.getByText("tick #5", { exact: true }).waitFor();
    await page.reload();
    await entries.getByText("tick #5", { exact: true }).waitFor();
    await expectAccessible(page);
    expect(problems).toEqual([]);
  }, 120_000);

  it("drawing over the times zooms the timeline, and the url keeps the zoom and the shortened idle times", async () => {
    const { page } = await stage.page(urlOf("fail"));
    await page.getByText("Draw over the times").waitFor();
    const track = page.locator(".cursor-crosshair");
    const box = await track.boundingBox();
    if (box === null) throw new Error("The ruler is not visible.");
    await page.mouse.move(box.x + box.width * 0.2, box.y + 5);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.9, box.y + 5);
    await page.mouse.up();
    await page.getByRole("button", { name: "Whole run" }).waitFor();
    await page.getByLabel("Shorten idle times").check();
    expect(page.url()).toMatch(/zoom=\d+-\d+.*idle=short/);
    await page.reload();
    await page.getByRole("button", { name: "Whole run" }).click();
    expect(page.url()).not.toContain("zoom");
    expect(await page.getByLabel("Shorten idle times").isChecked()).toBe(true);
  });
});

describe("the dashboard of a server that requires keys", () => {
  let stage: DashboardStage;
  beforeAll(async () => {
    stage = await DashboardStage.open(browser, { auth: true });
  });
  afterAll(() => stage.close());

  it("the page asks for a key, refuses a wrong one, and forgets it with a reload", async () => {
    const { secret } = await stage.server.keys.create({ name: "ops" });
    const { page } = await stage.page(stage.url);
    const field = page.getByLabel("API key");
    await field.fill("ak_wrong");
    await expectAccessible(page);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").getByText("UNAUTHORIZED").waitFor();
    await field.fill(secret);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("There are no runs yet.").waitFor();
    const stored = await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]");
    expect(stored).toEqual([0, 0, ""]);
    await page.reload();
    await field.waitFor();
  });
});

describe("the dashboard below a base path", () => {
  it("every request goes below the path, behind a proxy that answers 404 for everything else", async () => {
    const stage = await DashboardStage.open(browser, { basePath: "/ops/aiki" });
    const url = await stage.proxyAt("/ops/aiki");
    const handle = await orderV1.start(stage.aiki, { kind: "ok" }, { referenceId: "order-1" });
    const { page, problems } = await stage.page(`${url}/`);
    await page.getByText("order-1").waitFor();
    await page.getByRole("link", { name: "order@1.2.0" }).click();
    await page.getByText("no live worker serves order@1.2.0").waitFor();
    expect(page.url()).toBe(`${url}/runs/${handle.id}`);
    await page.reload();
    await page.getByText("no live worker serves order@1.2.0").waitFor();
    const direct = await stage.page(`${stage.url}/?referenceId=order-1`);
    await direct.page.getByRole("link", { name: "order@1.2.0" }).waitFor();
    expect(direct.page.url()).toBe(`${stage.url}/ops/aiki/?referenceId=order-1`);
    expect([...problems, ...direct.problems]).toEqual([]);
    await stage.close();
  });
});

describe("the files of the dashboard", () => {
  it("the first view needs less than 250 kB of JavaScript, compressed", () => {
    const folder = new URL("../../packages/server/dist/dashboard/", import.meta.url);
    const index = readFileSync(new URL("index.html", folder), "utf8");
    const first = [...index.matchAll(/assets\/[\w.-]+\.js/g)].map(([name]) => name);
    expect(first.length).toBeGreaterThan(0);
    const bytes = first.map((name) => gzipSync(readFileSync(new URL(name, folder))).length);
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(250_000);
    expect(readdirSync(new URL("assets/", folder)).length).toBeGreaterThan(first.length);
  });
});
