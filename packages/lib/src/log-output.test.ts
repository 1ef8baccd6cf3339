import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { logOutput } from "./log-output.ts";

const notice = (dropped: number) => `dropped ${dropped}`;

/** Waits until streams have called their callbacks. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A stream that fails while `fault` is set, and then works again, as standard output does. */
class FailingOutput extends Writable {
  fault: Error | null = null;
  written = "";

  constructor() {
    super({ emitClose: false, decodeStrings: false });
  }

  override _write(chunk: unknown, _: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.fault === null) this.written += String(chunk);
    done(this.fault);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error);
    const undestroy: unknown = Reflect.get(this, "_undestroy");
    if (typeof undestroy === "function") undestroy.call(this);
  }
}

/** A stream whose reader reads only when `read` is called. */
class Pipe extends Writable {
  #done: (() => void) | null = null;
  written = "";

  override _write(chunk: unknown, _: BufferEncoding, done: () => void): void {
    this.written += String(chunk);
    this.#done = done;
  }

  /** Reads all pending lines. */
  async read(): Promise<void> {
    while (this.#done !== null) {
      const done = this.#done;
      this.#done = null;
      done();
      await turn();
    }
  }
}

describe("the output of a log", () => {
  it("the log output writes each line with its line end", async () => {
    const output = new FailingOutput();
    const write = logOutput(output, notice);
    write("a");
    write("b");
    await turn();
    expect(output.written).toBe("a\nb\n");
  });

  it("lines that cannot be written are dropped and counted, and a later line has the count", async () => {
    const output = new FailingOutput();
    const write = logOutput(output, notice);
    for (const line of ["a", "b", "c"]) {
      output.fault = new Error("ENOSPC");
      write(line);
      await turn();
    }
    expect(output.listenerCount("error")).toBe(0);
    output.fault = null;
    write("d");
    await turn();
    write("e");
    await turn();
    expect(output.written).toBe("\nd\ndropped 3\ne\n");
  });

  it("dropped lines are counted again if the line with their count is lost too", async () => {
    const output = new FailingOutput();
    let fails = 0;
    const write = logOutput(output, (dropped) => {
      if (fails-- > 0) output.fault = new Error("EPIPE");
      return notice(dropped);
    });
    output.fault = new Error("EPIPE");
    write("a");
    write("b");
    await turn();
    output.fault = null;
    fails = 1;
    write("c");
    await turn();
    output.fault = null;
    write("d");
    await turn();
    expect(output.written).toBe("\nc\n\nd\ndropped 3\n");
  });

  it("the log output continues when the stream throws", () => {
    const output = new FailingOutput();
    output.write = () => {
      throw new Error("EBADF");
    };
    expect(() => logOutput(output, notice)("a")).not.toThrow();
  });

  it("at most 1 MB is buffered for a slow reader, and a later line counts the dropped ones", async () => {
    const pipe = new Pipe();
    const write = logOutput(pipe, notice);
    const line = "x".repeat(99_999);
    for (let count = 0; count < 100; count += 1) write(line);
    expect(pipe.writableLength).toBeLessThan(1_200_000);
    await pipe.read();
    const lines = pipe.written.split("\n");
    expect(lines.filter((text) => text === line)).toHaveLength(11);
    expect(lines.filter((text) => text.startsWith("dropped"))).toEqual(["dropped 89"]);
    write("after");
    await pipe.read();
    expect(pipe.written.endsWith("\nafter\n")).toBe(true);
  });
});
