/** JSON texts for people. */

const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s"{}[\],:]+/g;

/**
 * Indents a JSON text and changes nothing else: numbers that JavaScript cannot hold stay as they are recorded. Returns
 * the text itself if it is not JSON, or if the indented text would have more than `mostCharacters`.
 */
export function indented(json: string, mostCharacters: number): string {
  if (!isJson(json)) return json;
  const parts = json.match(tokens) ?? [];
  let depth = 0;
  let text = "";
  for (const [index, part] of parts.entries()) {
    const isEmpty = isOpening(parts[index - 1]) && isClosing(part);
    if (isClosing(part)) depth -= 1;
    if (isClosing(part) && !isEmpty) text += lineAt(depth);
    text += part === ":" ? ": " : part;
    if (isOpening(part)) depth += 1;
    if (part === "," || (isOpening(part) && !isClosing(parts[index + 1]))) text += lineAt(depth);
    if (text.length > mostCharacters) return json;
  }
  return text;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isOpening(part: string | undefined): boolean {
  return part === "{" || part === "[";
}

function isClosing(part: string | undefined): boolean {
  return part === "}" || part === "]";
}

function lineAt(depth: number): string {
  return `\n${"  ".repeat(depth)}`;
}
