import { execFile } from "node:child_process";
import { describe, expect, it } from "vitest";
import { hookEvent, type RejectionTarget, rejections } from "./rejections.ts";

const source = new URL("rejections.ts", import.meta.url).href;

interface EndedProcess {
  lines: string[];
  errors: string;
  code: number;
}

/** Runs `body` in a process that prints "alive" after 50 ms. */
function run(body: string, { mode = "throw", isWatched = true } = {}): Promise<EndedProcess> {
  const watched = `
    const { rejections } = await import(${JSON.stringify(source)});
    const watch = rejections(() => {
      const name = runs.getStore();
      return name === undefined ? null : { reject: (reason) => console.log(name + " fails: " + reason) };
    });
    const end = watch();
  `;
  const script = `
    import { AsyncLocalStorage } from "node:async_hooks";
    const runs = new AsyncLocalStorage();
    ${isWatched ? watched : ""}
    const pause = () => new Promise((resolve) => setTimeout(resolve, 5));
    const outside = async () => { await pause(); throw "of no run"; };
    const inside = (name) => runs.run(name, async () => { await pause(); throw "of " + name; });
    ${body}
    setTimeout(() => console.log("alive"), 50);
  `;
  const node = [`--unhandled-rejections=${mode}`, "--input-type=module", "--eval", script];
  const args = isWatched ? ["--import", "tsx", "--conditions=@aikirun/source", ...node] : node;
  const env = { ...process.env, NODE_NO_WARNINGS: "", NODE_OPTIONS: "" };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { env }, (_, out, errors) => {
      resolve({ lines: out.split("\n").slice(0, -1), errors: unplaced(errors), code: child.exitCode ?? -1 });
    });
  });
}

/** The output without process ids and code positions. */
function unplaced(errors: string): string {
  const lines = errors.replace(/\(node:\d+\)/g, "(node)").split("\n");
  return lines.filter((line) => !/^\s+at |^(node:internal|file:).*:\d+$/.test(line)).join("\n");
}

describe("an unhandled rejection in a run", () => {
  it.each([
    ["an async function", "inside('a');"],
    ["an async function before it awaits", "runs.run('a', async () => { throw 'of a'; });"],
    ["a chain", "runs.run('a', () => pause().then(() => { throw 'of a'; }));"],
    ["a combination", "runs.run('a', () => Promise.all([pause(), pause().then(() => Promise.reject('of a'))]));"],
    ["a timer", "runs.run('a', () => setTimeout(() => Promise.reject('of a'), 1));"],
    ["a promise that its maker rejects", "runs.run('a', () => new Promise((_, no) => setTimeout(no, 1, 'of a')));"],
  ])("an unhandled rejection in a run fails the run and not the process: %s", async (_, body) => {
    expect(await run(body)).toEqual({ lines: ["a fails: of a", "alive"], errors: "", code: 0 });
  });

  it("an unhandled rejection fails only its own run", async () => {
    const { lines } = await run("inside('a'); inside('b');");
    expect(lines).toEqual(["a fails: of a", "b fails: of b", "alive"]);
  });

  it("an unhandled rejection of a run does not reach the application's listeners", async () => {
    const body = "process.on('unhandledRejection', () => process.exit(7)); inside('a');";
    expect(await run(body)).toMatchObject({ lines: ["a fails: of a", "alive"], code: 0 });
  });

  it("an unhandled rejection of a run is not reported when it is handled later", async () => {
    const body = `
      process.on("rejectionHandled", () => console.log("handled"));
      const late = inside("a");
      setTimeout(() => late.catch(() => {}), 20);
    `;
    expect(await run(body)).toEqual({ lines: ["a fails: of a", "alive"], errors: "", code: 0 });
  });

  it("an unhandled rejection fails its run also in the mode none", async () => {
    expect(await run("inside('a');", { mode: "none" })).toMatchObject({ lines: ["a fails: of a", "alive"] });
  });
});

describe("an unhandled rejection of no run", () => {
  const listener = "process.on('unhandledRejection', (reason) => console.log('listener: ' + reason));";
  const handler = "process.on('uncaughtException', (_, origin) => console.log(origin));";
  const cases = [
    { name: "by itself", code: "", ends: ["throw", "strict"] },
    { name: "with a listener", code: listener, ends: ["strict"] },
    { name: "with a handler of exceptions", code: handler, ends: [] },
  ];
  const modes = ["throw", "strict", "warn", "none", "warn-with-error-code"];
  const table = cases.flatMap(({ name, code, ends }) =>
    modes.map((mode) => ({ name, mode, code, isFatal: ends.includes(mode) })),
  );

  it.each(table)(
    "an unhandled rejection of no run has the same effect as without a worker: $name, $mode",
    async ({ mode, code, isFatal }) => {
      const body = `${code} outside();`;
      const without = await run(body, { mode, isWatched: false });
      expect(await run(body, { mode })).toEqual(without);
      expect(without.lines.includes("alive")).toBe(!isFatal);
    },
  );

  it("an unhandled rejection of no run is reported when it is handled later", async () => {
    const body = `
      process.on("unhandledRejection", () => console.log("not handled"));
      process.on("rejectionHandled", () => console.log("handled"));
      const late = outside();
      setTimeout(() => late.catch(() => {}), 20);
    `;
    expect((await run(body)).lines).toEqual(["not handled", "handled", "alive"]);
  });

  it("an unhandled rejection of no run ends the process with status 1 and prints the error", async () => {
    const { lines, errors, code } = await run("outside();");
    expect([lines, code]).toEqual([[], 1]);
    expect(errors).toContain("of no run");
  });
});

describe("watches for rejections", () => {
  it("watches for rejections share one wrapper, which is removed with the last watch", () => {
    const { emit } = process;
    const watch = rejections(() => null);
    const [first, second] = [watch(), watch()];
    const wrapped = process.emit;
    first();
    first();
    expect(process.emit).toBe(wrapped);
    second();
    expect(process.emit).toBe(emit);
    expect(wrapped).not.toBe(emit);
  });

  it("a watch for rejections can end after another wrapper was installed around its own", async () => {
    const body = `
      const { emit } = process;
      process.emit = function (...args) { return emit.apply(this, args); };
      const around = process.emit;
      end();
      console.log(process.emit === around);
      inside("a");
    `;
    expect(await run(body)).toMatchObject({ lines: ["true"], code: 1 });
  });

  it("a watch for rejections on Deno handles only rejections of a run", () => {
    const reasons: unknown[] = [];
    let owner: RejectionTarget | null = { reject: (reason) => reasons.push(reason) };
    const target = new EventTarget();
    const end = hookEvent(() => owner, target);
    let others = 0;
    target.addEventListener("unhandledrejection", () => {
      others += 1;
    });
    const send = () => {
      const event = new Event("unhandledrejection", { cancelable: true });
      return target.dispatchEvent(Object.assign(event, { reason: "x" }));
    };
    expect([send(), others, reasons]).toEqual([false, 0, ["x"]]);
    owner = null;
    expect([send(), others, reasons]).toEqual([true, 1, ["x"]]);
    owner = { reject: (reason) => reasons.push(reason) };
    end();
    expect([send(), others, reasons]).toEqual([true, 2, ["x"]]);
  });
});
