import { consoleLogger, type Logger } from "@aikirun/lib";
import { jsonLogger, server } from "@aikirun/server";
import type { Terminal } from "./terminal.ts";
import { untilSignal } from "./until-signal.ts";

export interface ServerCommandOptions {
  port: number;
  host: string;
  database: string;
  allowedHost?: string[];
  dangerouslyAllowUnauthenticated?: boolean;
  json?: boolean;
}

/** Runs a server until it is told to stop. */
export async function serverCommand(options: ServerCommandOptions, terminal: Terminal): Promise<void> {
  const asJson = options.json === true || process.env.NODE_ENV === "production";
  const logger: Logger = asJson ? jsonLogger() : consoleLogger({});
  const stop = untilSignal();
  const aikiServer = await server({
    database: options.database,
    port: options.port,
    host: options.host,
    allowedHosts: options.allowedHost ?? [],
    dangerouslyAllowUnauthenticated: options.dangerouslyAllowUnauthenticated === true,
    logger,
  });
  try {
    const { url } = await aikiServer.listen();
    if (asJson) logger.info("listening", { url, database: options.database });
    else terminal.out(`Aiki is on ${terminal.paint("bold", url)}, runs rest in ${options.database}. Ctrl-C stops it.`);
    const signal = await stop;
    logger.info("stopping", { signal });
  } finally {
    await aikiServer.close();
  }
}
