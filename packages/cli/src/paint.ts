import { styleText } from "node:util";

/** The style of a text. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

/** Styles a text, or returns it unchanged if the output has no colours. */
export type Paint = (style: Style, text: string) => string;

/** Returns every text unchanged. */
export const unpainted: Paint = (_, text) => text;

/** Uses colours on a terminal; `NO_COLOR` and `FORCE_COLOR` override that. An empty variable counts as unset. */
export function paintFor(stream: { isTTY?: boolean }, variables: NodeJS.ProcessEnv): Paint {
  const { FORCE_COLOR: force = "", NO_COLOR: refused = "" } = variables;
  const wanted = force === "" ? stream.isTTY === true : force !== "0";
  return wanted && refused === "" ? painted : unpainted;
}

function painted(style: Style, text: string): string {
  return styleText(style, text);
}
