import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const driver = new URL("driver.ts", import.meta.url).href;
const script = `
const { loadDriver } = await import(${JSON.stringify(driver)});
const database = new (await loadDriver())(":memory:");
console.log(database.prepare("SELECT 41 + 1 AS sum").get().sum);
database.close();
process.emitWarning("something else");
`;

// Only Node 22 warns that SQLite is experimental.
it("loading SQLite prints no warning, and later warnings are printed", async () => {
  const node = ["--import", "tsx", "--conditions=@aikirun/source", "--input-type=module", "--eval", script];
  const env = { ...process.env, NODE_NO_WARNINGS: "", NODE_OPTIONS: "" };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, node, { env });
  expect(stdout).toBe("42\n");
  expect(stderr).toMatch(/Warning: something else/);
  expect(stderr).not.toMatch(/SQLite/);
});
