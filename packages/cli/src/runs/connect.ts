import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { variable } from "../variables.ts";

/** Options of every command that sends requests to a server. */
export interface ServerOptions {
  url: string;
  json?: boolean;
}

/**
 * Calls `work` with a client, then closes it. Fails at once if the server is unreachable. The API key comes only from
 * the environment, because other users of the machine can read a command's arguments.
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
