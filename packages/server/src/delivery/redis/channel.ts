import type { Env, Logger } from "@aikirun/lib";
import type { RedisTarget } from "./connection.ts";
import { type Line, redisLine } from "./line.ts";

/** One's own words come back at once: a connection on which nothing was heard for so long is none. Milliseconds. */
const silentMs = 16_000;

/** What happens while nothing is published, to end a sentence. */
const meanwhile = "what other servers do is seen within a second";

/** Redis pub/sub, as what servers of one database tell one another through. */
export class RedisChannel {
  readonly maxBytes = 100_000;
  readonly #options: { target: RedisTarget; env: Env; logger: Logger };
  readonly #name: string;
  /** When anything was last heard, one's own words among it; monotonic milliseconds. */
  #heardAt = 0;
  #hearing: Line | null = null;
  #saying: Line | null = null;
  #isRefused = false;

  constructor(options: { target: RedisTarget; env: Env; logger: Logger }) {
    this.#options = options;
    this.#name = `${options.target.prefix}:news`;
  }

  listen(hear: (text: string) => void, connected: () => void): void {
    const { logger } = this.#options;
    // Both lines go down together: one complaint is enough.
    const quiet: Logger = { ...logger, warn: logger.debug, info: logger.debug };
    this.#saying = redisLine({ ...this.#options, logger: quiet, meanwhile, opened: async () => {} });
    this.#hearing = redisLine({
      ...this.#options,
      meanwhile,
      opened: async (connection) => {
        this.#heardAt = this.#options.env.elapsed();
        await connection.subscribe(this.#name, (text) => {
          this.#heardAt = this.#options.env.elapsed();
          hear(text);
        });
        await this.#saying?.tried;
        connected();
      },
    });
  }

  async say(texts: readonly string[]): Promise<void> {
    const connection = this.#saying?.connection;
    if (connection === null || connection === undefined) throw new Error("The channel is not connected.");
    try {
      await Promise.all(texts.map((text) => connection.send("PUBLISH", this.#name, text)));
      this.#isRefused = false;
    } catch (error) {
      this.#noteRefusal(error);
      throw error;
    }
    if (this.#options.env.elapsed() - this.#heardAt > silentMs) this.#hearing?.drop("nothing is heard");
  }

  /** Once until Redis carries out a `PUBLISH` again. That a connection was lost is logged by its line. */
  #noteRefusal(error: unknown): void {
    if (this.#isRefused || !(error instanceof Error) || error.name !== "ReplyError") return;
    this.#isRefused = true;
    const { target, logger } = this.#options;
    const fields = { redis: `${target.host}:${target.port}`, reason: error.message };
    logger.warn(`Redis refuses PUBLISH; ${meanwhile}`, fields);
  }

  async close(): Promise<void> {
    this.#hearing?.close();
    this.#saying?.close();
  }
}
