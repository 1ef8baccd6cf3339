/** Finds Chromium on this machine. On Debian, root installs it if it is missing. */

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { installPackage } from "./debian.ts";

const advice =
  "There is no Chromium to test the dashboard with. Install one (apt install chromium, brew install --cask " +
  "chromium), name its program in CHROMIUM, or run the tests as root on Debian, where they install it by themselves.";

/** It sends no requests of its own. */
const quiet = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export async function openChromium(): Promise<Browser> {
  const program = installed() ?? ((await installPackage("chromium")) ? installed() : null);
  if (program === null) throw new Error(advice);
  return chromium.launch({ executablePath: program, args: quiet });
}

function installed(): string | null {
  const named = process.env.CHROMIUM ?? "";
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((path) => names.map((name) => join(path, name)));
  const onMac = ["Chromium", "Google Chrome"].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`);
  return [named, ...onPath, ...onMac].find((program) => program !== "" && existsSync(program)) ?? null;
}
