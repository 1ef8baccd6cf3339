import type { Duration } from "@aikirun/lib";
import { toMs } from "@aikirun/lib/internal";
import { type Scope, scopes } from "@aikirun/lib/protocol";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Terminal } from "../terminal.ts";
import { createKey } from "./create.ts";
import { listKeys } from "./list.ts";
import { revokeKey } from "./revoke.ts";

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
      new Option("--expires-in <time>", "lifetime, for example 90d, 12h or 30m; default: it does not expire").argParser(
        span,
      ),
    )
    .action((options) => createKey(options, terminal));
  add("list", "list all keys, oldest first").action((options) => listKeys(options, terminal));
  add("revoke", "revoke a key: servers refuse it within 5 s")
    .argument("<key>", "its id, the second part of the key")
    .action((id, options) => revokeKey(id, options, terminal));
  return keys;
}

function listed(text: string): Scope[] {
  return text.split(",").map((word) => {
    const scope = scopes.find((one) => one === word.trim());
    if (scope === undefined) throw new InvalidArgumentError(`Scopes are ${scopes.join(", ")}.`);
    return scope;
  });
}

function span(text: string): Duration {
  const [, amount, unit] = /^(\d{1,6})([dhms])$/.exec(text) ?? [];
  const count = Number(amount);
  const duration = { d: { days: count }, h: { hours: count }, m: { minutes: count }, s: { seconds: count } };
  const found = Object.entries(duration).find(([name]) => name === unit)?.[1];
  if (found === undefined || toMs(found) === 0) throw new InvalidArgumentError("Write 90d, 12h, 30m or 45s.");
  return found;
}
