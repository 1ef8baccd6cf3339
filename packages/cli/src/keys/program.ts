import { type Scope, scopes } from "@aikirun/lib/protocol";
import { Command, InvalidArgumentError, Option } from "commander";
import { duration } from "../options.ts";
import type { Terminal } from "../terminal.ts";

/** `aiki keys …`; `database` creates the option that names the database. */
export function keysProgram(terminal: Terminal, parent: Command, database: () => Option): Command {
  const keys = new Command("keys").description("create, list and revoke API keys, in the database itself");
  const add = (name: string, description: string) => {
    const command = keys.command(name).description(description).addOption(database());
    return command.option("--json", "print JSON").copyInheritedSettings(parent);
  };
  add("create", "create a key; it is printed once, alone on standard output")
    .requiredOption("--name <label>", "the owner of the key, or its purpose")
    .option("--namespace <name>", "the only namespace that the key gives access to", "default")
    .addOption(
      new Option("--scopes <list>", `comma-separated: ${scopes.join(", ")}; default: all but admin`).argParser(listed),
    )
    .addOption(
      new Option("--expires-in <time>", "lifetime, such as 90d, 12h or 30m; default: no end").argParser(duration),
    )
    .action(async (options) => (await import("./create.ts")).createKey(options, terminal));
  add("list", "list all keys, oldest first").action(async (options) =>
    (await import("./list.ts")).listKeys(options, terminal),
  );
  add("revoke", "revoke a key: servers refuse it within 5 s")
    .argument("<key>", "its id, the second part of the key")
    .action(async (id, options) => (await import("./revoke.ts")).revokeKey(id, options, terminal));
  return keys;
}

function listed(text: string): Scope[] {
  return text.split(",").map((word) => {
    const scope = scopes.find((one) => one === word.trim());
    if (scope === undefined) throw new InvalidArgumentError(`Scopes are ${scopes.join(", ")}.`);
    return scope;
  });
}
