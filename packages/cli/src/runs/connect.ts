import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { variable } from "../variables.ts";

/** Options of every command that talks to a server. */
export interface ServerOptions {
  url: string;
  json?: boolean;
}

/**
 * Lends a client for the length of `work`. A server that is not there shows at once: nobody waits for a terminal. Its
 * API key comes from the environment alone, since other users of a machine can read a command's arguments.
 */
export async function connected<Result>(
  { url }: ServerOptions,
  work: (aiki: Client) => Promise<Result>,
): Promise<Result> {
  const apiKey = variable("AIKI_API_KEY");
  const aiki = await client({ url, logger: silentLogger, ...(apiKey === undefined ? {} : { apiKey }) });
  try {
    await aiki.api.read({ runs: [] });
    return await work(aiki);
  } finally {
    await aiki.close();
  }
}
