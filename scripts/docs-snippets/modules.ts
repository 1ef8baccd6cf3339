/**
 * The modules that a document's TypeScript blocks make, by file name. Lines stand where the document has them.
 *
 * - A block that begins with `// name.ts` is that file; other blocks of the document can import it.
 * - Any other block is a module of its own.
 * - `<!-- continues -->` before a block adds it to the module of the block before.
 * - `<!-- given: … -->` before a block holds what the reader can take as given.
 * - `<!-- file: name.ts … -->` is a file that the reader need not see.
 */
export function modulesOf(document: string): Map<string, string> {
  const lines = document.split("\n");
  const modules = new Map<string, string[]>();
  let current = "";
  let given: Span | null = null;
  let continues = false;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const hidden = /^<!-- (given|file|continues)(?:: ?([\w.-]+\.ts$)?)?/.exec(line);
    if (hidden !== null) {
      const span = { from: at, to: endOf(lines, at, /-->$/) };
      if (hidden[1] === "continues") continues = true;
      else if (hidden[1] === "given") given = span;
      else put(moduleOf(modules, hidden[2] ?? `block-${at + 1}.ts`), lines, span);
      at = span.to;
    } else if (/^```(ts|typescript)$/.test(line)) {
      const span = { from: at + 1, to: endOf(lines, at + 1, /^```$/) - 1 };
      const name = /^\/\/ ([\w-]+\.ts)\b/.exec(lines[at + 1] ?? "")?.[1];
      if (!continues) current = name ?? `block-${at + 1}.ts`;
      const module = moduleOf(modules, current);
      if (given !== null) put(module, lines, given);
      put(module, lines, span);
      given = null;
      continues = false;
      at = span.to + 1;
    }
  }
  return new Map([...modules].map(([name, module]) => [name, `${module.join("\n")}\nexport {};\n`]));
}

/** Indexes of lines, both inclusive. */
interface Span {
  from: number;
  to: number;
}

function endOf(lines: readonly string[], from: number, end: RegExp): number {
  const length = lines.slice(from).findIndex((line) => end.test(line));
  return length < 0 ? lines.length - 1 : from + length;
}

function moduleOf(modules: Map<string, string[]>, name: string): string[] {
  const module = modules.get(name) ?? [];
  modules.set(name, module);
  return module;
}

function put(module: string[], lines: readonly string[], span: Span): void {
  while (module.length < span.from) module.push("");
  for (let at = span.from; at <= span.to; at++) module[at] = bare(lines[at] ?? "");
}

/** A line without what hides it from the reader. */
function bare(line: string): string {
  return line.replace(/^<!-- (given: ?|file: ?[\w.-]+\.ts$)/, "").replace(/-->$/, "");
}
