import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { buildIdOf } from "./build-id.ts";

it("the build id of a folder changes with its sources, and with nothing else", () => {
  const root = mkdtempSync(join(tmpdir(), "aiki-build-id-"));
  try {
    mkdirSync(join(root, "inner"));
    mkdirSync(join(root, "node_modules"));
    writeFileSync(join(root, "inner", "a.ts"), "1");
    const first = buildIdOf(root);
    expect(first).toMatch(/^dev-[0-9a-f]{16}$/);
    writeFileSync(join(root, "node_modules", "b.ts"), "1");
    writeFileSync(join(root, "aiki.db"), "1");
    expect(buildIdOf(root)).toBe(first);
    writeFileSync(join(root, "inner", "a.ts"), "12");
    const second = buildIdOf(root);
    expect(second).not.toBe(first);
    writeFileSync(join(root, "c.ts"), "1");
    expect(buildIdOf(root)).not.toBe(second);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
