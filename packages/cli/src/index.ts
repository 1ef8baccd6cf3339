export { type EntryLine, entryLine } from "./entry-line.ts";
export { main } from "./main.ts";
export { type Paint, paintFor, type Style, unpainted } from "./paint.ts";
export { processTerminal, type Screen, type Terminal } from "./terminal.ts";
export { timeline, timelineLine } from "./timeline.ts";
