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

it("is loaded without a word to the user, who still hears of everything else", async () => {
  const node = ["--import", "tsx", "--conditions=@aikirun/source", "--input-type=module", "--eval", script];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, node);
  expect(stdout).toBe("42\n");
  expect(stderr).toMatch(/^\(node:\d+\) Warning: something else\n/);
});
