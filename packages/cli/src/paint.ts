import { styleText } from "node:util";

/** How a text may look. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

/** Colours a text, or leaves it alone where colours would be noise. */
export type Paint = (style: Style, text: string) => string;

/** Leaves every text as it is. */
export const unpainted: Paint = (_, text) => text;

/** Paints for a terminal that shows colours, by the usual variables (`NO_COLOR`, `FORCE_COLOR`). */
export function paintFor(stream: { isTTY?: boolean }, variables: NodeJS.ProcessEnv): Paint {
  const wanted = variables.FORCE_COLOR === undefined ? stream.isTTY === true : variables.FORCE_COLOR !== "0";
  const refused = variables.NO_COLOR !== undefined && variables.NO_COLOR !== "";
  return wanted && !refused ? painted : unpainted;
}

function painted(style: Style, text: string): string {
  return styleText(style, text);
}
