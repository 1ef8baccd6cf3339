import { setTimeout } from "node:timers/promises";
import type { Client } from "@aikirun/client";
import { type Duration, isAikiError } from "@aikirun/lib";
import { toMs } from "@aikirun/lib/internal";
import { connected, type ServerOptions } from "../runs/connect.ts";
import type { Screen, Terminal } from "../terminal.ts";
import { cut, plain } from "../text.ts";
import { untilSignal } from "../until-signal.ts";
import { overviewLines } from "./lines.ts";
import { readOverview } from "./overview.ts";

export interface TopOptions extends ServerOptions {
  /** How often the screen is drawn again. */
  interval: Duration;
}

/** How many lines are printed if the output is no terminal. */
const plainHeight = 40;

/** Shows workers, runs by status and the latest changes: until a key ends it on a terminal, else once. */
export async function topCommand(options: TopOptions, terminal: Terminal): Promise<void> {
  await connected(options, async (aiki) => {
    if (options.json === true) {
      terminal.out(JSON.stringify(await readOverview(aiki)));
    } else if (terminal.isInteractive) {
      await showUntilKey(aiki, options, terminal);
    } else {
      const overview = await readOverview(aiki);
      const frame = { width: terminal.width, height: plainHeight, paint: terminal.paint };
      for (const line of overviewLines(overview, options.url, frame)) terminal.out(line);
    }
  });
}

async function showUntilKey(aiki: Client, options: TopOptions, terminal: Terminal): Promise<void> {
  const ended = new AbortController();
  void untilSignal().then(() => ended.abort());
  const screen = terminal.screen((key) => {
    if (key === "q" || key === "\x03" || key === "\x1b") ended.abort();
  });
  try {
    do {
      await drawOnce(aiki, options, terminal, screen);
      await setTimeout(toMs(options.interval), null, { signal: ended.signal }).catch(() => {});
    } while (!ended.signal.aborted);
  } finally {
    screen.close();
  }
}

/** Draws what the server knows, or the error if it cannot be reached: it is asked again later. */
async function drawOnce(aiki: Client, { url }: TopOptions, terminal: Terminal, screen: Screen): Promise<void> {
  const { width, height, paint } = terminal;
  const title = `${url}  ${new Date().toLocaleTimeString()}  q ends`;
  try {
    const overview = await readOverview(aiki);
    screen.draw(overviewLines(overview, title, { width, height, paint }));
  } catch (thrown) {
    if (!isAikiError(thrown)) throw thrown;
    const error = cut(`${thrown.code}: ${plain(thrown.message)}`, width);
    screen.draw([cut(`aiki top  ${title}`, width), "", paint("red", error)]);
  }
}
