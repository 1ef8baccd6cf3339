import { existsSync } from "node:fs";
import { errorCodes, isAikiError, isErrorCode } from "@aikirun/lib";
import { type CheckupParams, checkup, type Finding } from "@aikirun/server";
import { CommandError } from "../command-error.ts";
import { packageVersion } from "../package-version.ts";
import { connected } from "../runs/connect.ts";
import type { Terminal } from "../terminal.ts";
import { counted, plain, wrapped } from "../text.ts";
import { clockFinding, machineFindings } from "./machine.ts";
import { checkServer } from "./server.ts";

export interface DoctorOptions {
  url: string;
  database: string;
  databaseDirect?: string;
  redis?: string;
  json?: boolean;
}

/** Which options were given on the command line or in a variable. */
export interface GivenOptions {
  url: boolean;
  database: boolean;
}

/** Checks this machine, the database, Redis and the server, and prints each finding. Fails if one is an error. */
export async function doctorCommand(options: DoctorOptions, given: GivenOptions, terminal: Terminal): Promise<void> {
  const server = await checkServer(options.url, given.url);
  const parts = checkedParts(options, given);
  const checked = await checkup(parts);
  const clock = clockFinding(server.clock, checked.databaseClock);
  const findings = [
    ...machineFindings(),
    ...checked.findings,
    ...server.findings,
    ...(server.isReachable ? await workerFindings(options.url) : []),
    ...(clock === null ? [] : [clock]),
  ];
  if (options.json === true) terminal.out(JSON.stringify({ findings }));
  else for (const finding of findings) for (const line of linesOf(finding, terminal)) terminal.out(line);
  if (options.json !== true) for (const line of uncheckedLines(parts)) terminal.out(terminal.paint("dim", line));
  const errors = findings.filter(({ level }) => level === "error").length;
  const warnings = findings.filter(({ level }) => level === "warning").length;
  const summary = `${counted(errors, "error")}, ${counted(warnings, "warning")}`;
  if (errors > 0) throw new CommandError(1, `${summary}.`);
  if (options.json !== true) terminal.out(terminal.paint("dim", summary));
}

/** The default file of a database is checked only if it exists: servers may use another database. */
function checkedParts(options: DoctorOptions, given: GivenOptions): CheckupParams {
  const { database, databaseDirect, redis } = options;
  const isFile = existsSync(database.replace(/^sqlite:/, ""));
  return {
    ...(given.database || isFile ? { database } : {}),
    ...(databaseDirect === undefined ? {} : { databaseDirect }),
    ...(redis === undefined ? {} : { redis }),
  };
}

function uncheckedLines({ database, redis }: CheckupParams): string[] {
  const unchecked = [
    ...(database === undefined ? ["the database (pass --database or set AIKI_DATABASE)"] : []),
    ...(redis === undefined ? ["Redis (pass --redis or set AIKI_REDIS, if your servers use it)"] : []),
  ];
  return unchecked.length === 0 ? [] : [`Not checked: ${unchecked.join(", and ")}.`];
}

/** What a server says only to callers that may read: its version and its workers. */
async function workerFindings(url: string): Promise<Finding[]> {
  try {
    const reply = await connected({ url }, ({ api }) => api.read({ runs: [], workers: true }));
    return [...versionFindings(reply.serverVersion), workerFinding(reply.workers?.length ?? 0)];
  } catch (thrown) {
    if (!isAikiError(thrown)) throw thrown;
    const { code } = thrown;
    const remedy = isErrorCode(code) ? { remedy: errorCodes[code].remedy } : {};
    return [{ subject: "workers", level: "error", message: `${code}: ${thrown.message}`, ...remedy }];
  }
}

export function versionFindings(version = "of an unknown number"): Finding[] {
  if (version === packageVersion) return [];
  const message = `The server is version ${version}, and this command is version ${packageVersion}.`;
  const remedy = "Use the same version, and upgrade the servers first.";
  return [{ subject: "version", level: "warning", message, remedy }];
}

function workerFinding(count: number): Finding {
  const subject = "workers";
  if (count > 0) return { subject, level: "ok", message: `${counted(count, "worker")} alive.` };
  const message = "No worker is alive: no run is executed.";
  return { subject, level: "warning", message, remedy: "Start one, for example with aiki worker FILE." };
}

const signs = { ok: ["✓", "green"], warning: ["!", "yellow"], error: ["✗", "red"] } as const;

/** Columns before the message. */
const indent = 12;

function linesOf({ subject, level, message, remedy }: Finding, { paint, width }: Terminal): string[] {
  const [sign, style] = signs[level];
  const rest = " ".repeat(indent);
  const [first = "", ...more] = wrapped(plain(message), width - indent);
  return [
    `${paint(style, sign)} ${paint("bold", subject.padEnd(indent - 3))} ${first}`,
    ...more.map((line) => rest + line),
    ...(remedy === undefined ? [] : wrapped(`→ ${plain(remedy)}`, width - indent)).map(
      (line) => rest + paint(style, line),
    ),
  ];
}
