import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";

/** Options of every command that talks to a server. */
export interface ServerOptions {
  url: string;
  json?: boolean;
}

/** Lends a client for the length of `work`. A server that is not there shows at once: nobody waits for a terminal. */
export async function connected<Result>(
  { url }: ServerOptions,
  work: (aiki: Client) => Promise<Result>,
): Promise<Result> {
  const aiki = await client({ url, logger: silentLogger });
  try {
    await aiki.api.read({ runs: [] });
    return await work(aiki);
  } finally {
    await aiki.close();
  }
}
