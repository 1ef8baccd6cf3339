import { AikiError, consoleLogger, type Logger } from "@aikirun/lib";
import { jsonLogger, server, withoutPassword } from "@aikirun/server";
import type { Terminal } from "./terminal.ts";
import { untilSignal } from "./until-signal.ts";
import { variable } from "./variables.ts";

export interface ServerCommandOptions {
  port: number;
  host: string;
  database: string;
  databaseConnections: number;
  databaseDirect?: string;
  redis?: string;
  allowedHost?: string[];
  basePath?: string;
  auth?: boolean;
  dangerouslyAllowUnauthenticated?: boolean;
  json?: boolean;
}

/** Runs a server until a signal stops it. */
export async function serverCommand(options: ServerCommandOptions, terminal: Terminal): Promise<void> {
  const asJson = options.json === true || variable("NODE_ENV") === "production";
  const logger: Logger = asJson ? jsonLogger() : consoleLogger({});
  const stop = untilSignal();
  const aikiServer = await server({
    database: options.database,
    databaseConnections: options.databaseConnections,
    ...(options.databaseDirect === undefined ? {} : { databaseDirect: options.databaseDirect }),
    ...(options.redis === undefined ? {} : { redis: options.redis }),
    port: options.port,
    host: options.host,
    allowedHosts: options.allowedHost ?? [],
    ...(options.basePath === undefined ? {} : { basePath: options.basePath }),
    auth: options.auth === true || isTrue(variable("AIKI_AUTH")),
    dangerouslyAllowUnauthenticated: options.dangerouslyAllowUnauthenticated === true,
    logger,
  });
  try {
    const { url } = await aikiServer.listen();
    const database = withoutPassword(options.database);
    if (asJson) logger.info("listening", { url, database });
    else
      terminal.note(
        `The Aiki server listens on ${terminal.paint("bold", url)}, and stores runs in ${database}. Ctrl-C stops it.`,
      );
    const signal = await stop;
    logger.info("stopping", { signal });
  } finally {
    await aikiServer.close();
  }
}

/** Throws for any other text, so that a misspelt value does not turn authentication off. */
function isTrue(text = ""): boolean {
  if (/^(true|false|)$/.test(text)) return text === "true";
  throw new AikiError("INVALID_CONFIG", `AIKI_AUTH is ${JSON.stringify(text)}. Write true or false.`);
}
