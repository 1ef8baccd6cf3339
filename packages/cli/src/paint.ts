import { styleText } from "node:util";

/** How a text may look. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

/** Colours a text, or leaves it alone where colours would be noise. */
export type Paint = (style: Style, text: string) => string;

/** Leaves every text as it is. */
export const unpainted: Paint = (_, text) => text;

/** Paints for a terminal that shows colours, by `NO_COLOR` and `FORCE_COLOR`, of which an empty one counts as unset. */
export function paintFor(stream: { isTTY?: boolean }, variables: NodeJS.ProcessEnv): Paint {
  const { FORCE_COLOR: force = "", NO_COLOR: refused = "" } = variables;
  const wanted = force === "" ? stream.isTTY === true : force !== "0";
  return wanted && refused === "" ? painted : unpainted;
}

function painted(style: Style, text: string): string {
  return styleText(style, text);
}
