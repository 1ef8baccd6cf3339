import type { Logger } from "@aikirun/lib";
import { Client } from "pg";
import type { Row } from "../row.ts";
import { isBackend, isReadOnly, listenSettings } from "./connect.ts";
import { explainFailure } from "./failure.ts";
import { maxAgeMs } from "./pools.ts";
import { placeOf } from "./url.ts";

/** The channel that all servers of a database use. */
const name = "aiki_news";

/** How long to wait before the next attempt to connect. Milliseconds. */
const pauseMs = 1_000;

/** If the channel does not receive its own test message within this time, it assumes a pooler. Milliseconds. */
const echoMs = 3_000;

/** How often to check whether the PostgreSQL server still accepts writes. Milliseconds. */
const checkMs = 2_000;

/** Sends all texts with one statement. Does not wait for the disk, because notifications need not be durable. */
const notify = `
  WITH asynchronous AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set)
  SELECT pg_notify('${name}', text) FROM asynchronous CROSS JOIN unnest($1::text[]) AS given (text)`;

/**
 * LISTEN and NOTIFY on a separate connection. It is opened again when it is lost, when its PostgreSQL server has become
 * a standby, and when it has reached the age limit of all connections. Through a pooler in transaction mode no message
 * arrives, and LISTEN would stay active on a connection that others use. So LISTEN is not sent through a pooler, unless
 * the url was configured for notifications. A lost connection and a pooler are each logged once.
 */
export class PostgresChannel {
  /** PostgreSQL rejects 8,000. */
  readonly maxBytes = 7_900;
  readonly #url: string;
  readonly #isAssumedDirect: boolean;
  readonly #logger: Logger | undefined;
  #client: Client | null = null;
  #lose: () => void = () => {};
  /** Settles when the last query has settled. */
  #sent: Promise<unknown> = Promise.resolve();
  #receive: (text: string) => void = () => {};
  #connected: () => void = () => {};
  #again: NodeJS.Timeout | null = null;
  #check: NodeJS.Timeout | null = null;
  #hasWarnedOfPooler = false;
  #hasLoggedLoss = false;
  #isClosed = false;

  /** `isAssumedDirect`: according to the configuration, notifications arrive through this url. */
  constructor({ url, isAssumedDirect, logger }: { url: string; isAssumedDirect: boolean; logger?: Logger }) {
    this.#url = url;
    this.#isAssumedDirect = isAssumedDirect;
    this.#logger = logger;
  }

  listen(receive: (text: string) => void, connected: () => void): void {
    this.#receive = receive;
    this.#connected = connected;
    void this.#connect();
  }

  /** Sends one query after another: the driver warns of concurrent queries, and a later version will reject them. */
  async send(texts: readonly string[]): Promise<void> {
    if (texts.length === 0) return;
    const sending = this.#sent.then(() => this.#notify(texts));
    this.#sent = sending.catch(() => {});
    await sending;
  }

  async #notify(texts: readonly string[]): Promise<void> {
    const client = this.#client;
    if (client === null) throw new Error("The channel is not connected.");
    try {
      await client.query(notify, [texts]);
    } catch (error) {
      // No reply in time. The network may drop all packets without closing the connection, so it is closed here.
      if (this.#client === client) this.#lose();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#again !== null) clearTimeout(this.#again);
    if (this.#check !== null) clearTimeout(this.#check);
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }

  async #connect(): Promise<void> {
    let client: Client;
    try {
      client = new Client(listenSettings(this.#url));
    } catch (thrown) {
      // The url contains an option that cannot be used: another attempt would fail too.
      return this.#logLoss(thrown, true);
    }
    let isLost = false;
    const lose = (thrown?: unknown) => {
      if (isLost) return;
      isLost = true;
      if (thrown !== undefined) this.#logLoss(thrown, this.#client !== client);
      if (this.#client === client) {
        this.#client = null;
        if (this.#check !== null) clearTimeout(this.#check);
      }
      client.end().catch(() => {});
      if (!this.#isClosed) this.#again = setTimeout(() => void this.#connect(), pauseMs).unref();
    };
    client.on("error", lose);
    client.on("end", () => lose());
    const echo = `{"echo":"${Math.random()}"}`;
    let isReceived = false;
    client.on("notification", ({ payload }) => {
      if (payload === echo) isReceived = true;
      else if (payload !== undefined) this.#receive(payload);
    });
    try {
      await client.connect();
      if (await refusesWrites(client)) return lose();
      if (!(this.#isAssumedDirect || (await isDirect(client)))) {
        isLost = true;
        this.#warnOfPooler();
        return await client.end();
      }
      await client.query(`LISTEN ${name}`);
      if (this.#isClosed) return lose();
      this.#client = client;
      this.#lose = lose;
      this.#hasLoggedLoss = false;
      this.#checkLater(client, performance.now() + maxAgeMs);
      await this.#echo(echo);
      setTimeout(() => {
        if (!isReceived && !isLost) this.#warnOfPooler();
      }, echoMs).unref();
      this.#connected();
    } catch (thrown) {
      lose(thrown);
    }
  }

  /** Waits for earlier queries, because the driver rejects concurrent ones. */
  #checkLater(client: Client, endsAt: number): void {
    this.#check = setTimeout(() => {
      const checking = this.#sent.then(async () => {
        if (this.#client !== client) return;
        const isOver = performance.now() >= endsAt || (await refusesWrites(client).catch(() => true));
        if (this.#client !== client) return;
        if (isOver) this.#lose();
        else this.#checkLater(client, endsAt);
      });
      this.#sent = checking.catch(() => {});
    }, checkMs).unref();
  }

  /** Sent from another connection: through a pooler, a message of a connection to itself may arrive by chance. */
  async #echo(text: string): Promise<void> {
    const other = new Client(listenSettings(this.#url));
    other.on("error", () => {});
    try {
      await other.connect();
      await other.query(notify, [[text]]);
    } finally {
      await other.end().catch(() => {});
    }
  }

  /** Logs once for each period without a connection. */
  #logLoss(thrown: unknown, isConnecting: boolean): void {
    if (this.#hasLoggedLoss || this.#isClosed) return;
    this.#hasLoggedLoss = true;
    const reason = explainFailure(thrown, placeOf(this.#url), isConnecting);
    this.#logger?.warn("cannot listen to notifications of PostgreSQL: what other servers do is seen within a second", {
      reason: reason instanceof Error ? reason.message : String(reason),
    });
  }

  #warnOfPooler(): void {
    if (this.#hasWarnedOfPooler || this.#isClosed) return;
    this.#hasWarnedOfPooler = true;
    this.#logger?.warn(
      "notifications of PostgreSQL do not arrive, as behind a pooler in transaction mode: what other servers do is " +
        "seen within a second; for milliseconds, give databaseDirect (AIKI_DATABASE_DIRECT) a url past the pooler, " +
        "or give Redis",
    );
  }
}

/** Whether the PostgreSQL server is a standby or read-only. */
async function refusesWrites(client: Client): Promise<boolean> {
  const { rows } = await client.query<Row>(`SELECT ${isReadOnly} AS read_only`);
  return rows.some((row) => row.read_only === true);
}

async function isDirect(client: Client): Promise<boolean> {
  const { rows } = await client.query<Row>("SELECT pg_backend_pid() AS backend");
  return rows.every((row) => isBackend(client, Number(row.backend)));
}
