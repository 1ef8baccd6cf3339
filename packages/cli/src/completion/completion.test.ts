import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../main.ts";
import { createProgram } from "../program.ts";
import { completedCommands } from "./tree.ts";

async function scriptOf(shell: string): Promise<string> {
  const { terminal, out } = recordedTerminal();
  expect(await main(["completion", shell], terminal)).toBe(0);
  return out.join("\n");
}

describe("aiki completion", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "aiki-completion-"));
    await writeFile(join(directory, "aiki.bash"), await scriptOf("bash"));
    await writeFile(join(directory, "my workflows.ts"), "");
  });
  afterAll(() => rm(directory, { recursive: true }));

  /** What bash offers for the last word. */
  function offered(...words: string[]): string[] {
    const script = `
      source aiki.bash
      COMP_WORDS=("$@")
      COMP_CWORD=$(($# - 1))
      _aiki
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const output = execFileSync("bash", ["-c", script, "bash", ...words], { cwd: directory, encoding: "utf8" });
    return output.split("\n").filter((line) => line !== "");
  }

  it.each<[words: string[], expected: string[]]>([
    [["aiki", "ru"], ["runs"]],
    [
      ["aiki", "runs", "re"],
      ["retry", "resume"],
    ],
    [["aiki", "runs", "list", "--sta"], ["--status"]],
    [["aiki", "runs", "list", "--status", "f"], ["failed"]],
    [
      ["aiki", "runs", "list", "--order", ""],
      ["newest", "oldest"],
    ],
    [["aiki", "runs", "list", "--name", ""], []],
    [["aiki", "runs", "list", "--name", "keys", "--ord"], ["--order"]],
    [["aiki", "runs", "cancel", "0190a", "--y"], ["--yes"]],
    [["aiki", "keys", "create", "--scopes", "w"], ["workers:run"]],
    [["aiki", "dev", "my"], ["my workflows.ts"]],
    [["aiki", "worker", "--con"], ["--concurrency"]],
    [["aiki", "completion", "z"], ["zsh"]],
    [["aiki", "--v"], ["--version"]],
  ])("bash offers for %j the words %j", (words, expected) => {
    expect(offered(...words)).toEqual(expected);
  });

  const commands = completedCommands(createProgram(recordedTerminal().terminal));

  it("every command except dev and completion has --json", () => {
    const leaves = commands.filter(({ subcommands }) => subcommands.length === 0);
    const without = leaves.filter(({ options }) => !options.some(({ word }) => word === "--json"));
    expect(without.map(({ path }) => path.join(" "))).toEqual(["dev", "completion"]);
  });

  it("the scripts for zsh and fish contain every command with its options and descriptions", async () => {
    const [zsh, fish] = [await scriptOf("zsh"), await scriptOf("fish")];
    expect(commands.length).toBeGreaterThan(20);
    for (const { path, subcommands, options } of commands) {
      const place = path.join(" ");
      const zshPart = zsh.slice(zsh.indexOf(`\n    '${place}')\n`));
      expect(zsh).toContain(`\n    '${place}')\n`);
      for (const { word, description } of [...subcommands, ...options]) {
        expect(zshPart.slice(0, zshPart.indexOf(" ;;\n    '"))).toContain(`${word}:${description.slice(0, 5)}`);
        const name = word.replace(/^--/, "-l ");
        expect(fish).toContain(`'__aiki_at \\'${place}\\'' ${name.startsWith("-l") ? name : `-a ${word}`} -d `);
      }
    }
  });

  it("a quote in a description is escaped as each shell needs it", async () => {
    expect(await scriptOf("zsh")).toContain("the workflow'\\''s own timeout");
    expect(await scriptOf("fish")).toContain("the workflow\\'s own timeout");
  });

  it("an unknown shell ends with status 2", async () => {
    const { terminal, err } = recordedTerminal();
    expect(await main(["completion", "tcsh"], terminal)).toBe(2);
    expect(err.join("\n")).toMatch(/Allowed choices are bash, zsh, fish/);
  });
});
