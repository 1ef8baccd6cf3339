/** A Dockerfile, read: stages of instructions, with the build arguments filled in. */

export interface Instruction {
  /** In capitals. */
  keyword: string;
  /** What follows it, on one line. */
  text: string;
  /** Line in the file, from 1. */
  line: number;
}

export interface Stage {
  /** Empty for the last one, if it has none. */
  name: string;
  /** An image, or the name of an earlier stage. */
  base: string;
  instructions: Instruction[];
}

/** Throws for what cannot be a Dockerfile. */
export function readDockerfile(text: string): Stage[] {
  const stages: Stage[] = [];
  const variables = new Map<string, string>();
  for (const instruction of instructionsIn(text)) {
    const filled = instruction.text.replace(/\$\{(\w+)\}/g, (_, name: string) => {
      const value = variables.get(name);
      if (value === undefined) throw new Error(`Line ${instruction.line}: nothing says what ${name} is.`);
      return value;
    });
    const [name = "", value = ""] = splitOnce(filled, "=");
    const last = stages.at(-1);
    if (instruction.keyword === "FROM") stages.push(stageOf(filled));
    else if (instruction.keyword === "ARG") variables.set(name, value);
    else if (last === undefined) throw new Error(`Line ${instruction.line}: ${instruction.keyword} before FROM.`);
    else last.instructions.push({ ...instruction, text: filled });
  }
  return stages;
}

/** The last one of a kind, or null. */
export function lastOf(stage: Stage, keyword: string): string | null {
  return stage.instructions.findLast((instruction) => instruction.keyword === keyword)?.text ?? null;
}

/** A command in exec form, whose process gets signals itself; null in shell form. */
export function execForm(text: string | null): string[] | null {
  if (text === null || !text.startsWith("[")) return null;
  const words: unknown = JSON.parse(text);
  return Array.isArray(words) && words.every((word) => typeof word === "string") ? words : null;
}

function instructionsIn(text: string): Instruction[] {
  const found: Instruction[] = [];
  let isOpen = false;
  for (const [at, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const part = line.replace(/\s*\\$/, "");
    const last = found.at(-1);
    if (isOpen && last !== undefined) {
      last.text = `${last.text} ${part}`;
    } else {
      const [keyword = "", rest = ""] = splitOnce(part, " ");
      found.push({ keyword: keyword.toUpperCase(), text: rest, line: at + 1 });
    }
    isOpen = line.endsWith("\\");
  }
  return found;
}

function stageOf(text: string): Stage {
  const [base = "", , name = ""] = text.split(/\s+/);
  return { name, base, instructions: [] };
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length).trim()];
}
