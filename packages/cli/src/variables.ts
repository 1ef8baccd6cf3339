/** Environment variables of the `aiki` command. An empty one counts as unset. */

import { type Command, InvalidArgumentError, type Option } from "commander";

/** The value without the spaces and line breaks around it; undefined when the variable is unset or empty. */
export function variable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === "" ? undefined : value;
}

const variablesOf = new WeakMap<Option, readonly string[]>();

/** If the option is not on the command line, its value is that of the first of these variables that is not empty. */
export function orVariable(option: Option, ...names: readonly string[]): Option {
  option.description += ` (env: ${names.join(", else ")})`;
  variablesOf.set(option, names);
  return option;
}

/**
 * Sets options of a command from variables and records the variable as their source. An invalid value is a usage error,
 * as on the command line.
 */
export function readVariables(command: Command): void {
  for (const option of command.options) {
    const source = command.getOptionValueSource(option.attributeName()) ?? "default";
    const name = variablesOf.get(option)?.find((one) => variable(one) !== undefined);
    if (name === undefined || source !== "default") continue;
    command.setOptionValueWithSource(option.attributeName(), parsed(command, option, name), name);
  }
}

/** The option or variable that set a configuration field, as errors name it; undefined for a default. */
export function originOf(command: Command, field: string): string | undefined {
  if (field === "apiKey") return "AIKI_API_KEY";
  const option = command.options.find((one) => one.attributeName() === field);
  const source = command.getOptionValueSource(field) ?? "default";
  if (option === undefined || source === "default") return undefined;
  return source === "cli" ? `option ${option.long}` : `${source}, option ${option.long}`;
}

function parsed(command: Command, option: Option, name: string): unknown {
  const text = variable(name) ?? "";
  try {
    return option.parseArg === undefined ? text : option.parseArg(text, undefined);
  } catch (thrown) {
    if (!(thrown instanceof InvalidArgumentError)) throw thrown;
    return command.error(`error: ${name} (option ${option.long}) is invalid. ${thrown.message}`);
  }
}
