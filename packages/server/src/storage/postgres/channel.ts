import type { Logger } from "@aikirun/lib";
import { Client } from "pg";
import type { Row } from "../row.ts";
import { isBackend, isReadOnly, listenSettings } from "./connect.ts";
import { explainFailure } from "./failure.ts";
import { maxAgeMs } from "./pools.ts";
import { placeOf } from "./url.ts";

/** The channel of all servers of a database. */
const name = "aiki_news";

/** Before the next try to connect. Milliseconds. */
const pauseMs = 1_000;

/** When a message of its own is not received within this time, there is a pooler in between. Milliseconds. */
const echoMs = 3_000;

/** How often the connection is asked whether its server still takes writes. Milliseconds. */
const checkMs = 2_000;

/** Sends all texts with one statement, and without waiting for the disk, because they need not be durable. */
const notify = `
  WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set)
  SELECT pg_notify('${name}', text) FROM unhurried CROSS JOIN unnest($1::text[]) AS given (text)`;

/**
 * LISTEN and NOTIFY on a connection of their own, which is opened anew when it is lost, when its server has become a
 * standby, and when it has reached the age limit of all connections. Through a pooler in transaction mode no message
 * arrives, and LISTEN would stay in force on a connection that others use: so it is not sent through a pooler, unless
 * the url was given for it. Either is logged once.
 */
export class PostgresChannel {
  /** PostgreSQL refuses 8,000. */
  readonly maxBytes = 7_900;
  readonly #url: string;
  readonly #isVouchedFor: boolean;
  readonly #logger: Logger | undefined;
  #client: Client | null = null;
  #lose: () => void = () => {};
  /** Settles with the last query. */
  #sent: Promise<unknown> = Promise.resolve();
  #receive: (text: string) => void = () => {};
  #connected: () => void = () => {};
  #again: NodeJS.Timeout | null = null;
  #check: NodeJS.Timeout | null = null;
  #hasWarned = false;
  #hasComplained = false;
  #isClosed = false;

  /** `isVouchedFor`: the configuration says that notifications arrive through this url. */
  constructor({ url, isVouchedFor, logger }: { url: string; isVouchedFor: boolean; logger?: Logger }) {
    this.#url = url;
    this.#isVouchedFor = isVouchedFor;
    this.#logger = logger;
  }

  listen(receive: (text: string) => void, connected: () => void): void {
    this.#receive = receive;
    this.#connected = connected;
    void this.#connect();
  }

  /** One query after another: the driver warns of those that are sent at once, and will refuse them. */
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
      // No answer in time: a network that swallows everything closes nothing.
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
      // What the url asks for cannot be done: another try would fail alike.
      return this.#complain(thrown, true);
    }
    let isLost = false;
    const lose = (thrown?: unknown) => {
      if (isLost) return;
      isLost = true;
      if (thrown !== undefined) this.#complain(thrown, this.#client !== client);
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
      if (await takesNoWrites(client)) return lose();
      if (!(this.#isVouchedFor || (await isDirect(client)))) {
        isLost = true;
        this.#warn();
        return await client.end();
      }
      await client.query(`LISTEN ${name}`);
      if (this.#isClosed) return lose();
      this.#client = client;
      this.#lose = lose;
      this.#hasComplained = false;
      this.#checkLater(client, performance.now() + maxAgeMs);
      await this.#echo(echo);
      setTimeout(() => {
        if (!isReceived && !isLost) this.#warn();
      }, echoMs).unref();
      this.#connected();
    } catch (thrown) {
      lose(thrown);
    }
  }

  /** Between other queries: the driver refuses those that are sent at once. */
  #checkLater(client: Client, endsAt: number): void {
    this.#check = setTimeout(() => {
      const checking = this.#sent.then(async () => {
        if (this.#client !== client) return;
        const isOver = performance.now() >= endsAt || (await takesNoWrites(client).catch(() => true));
        if (this.#client !== client) return;
        if (isOver) this.#lose();
        else this.#checkLater(client, endsAt);
      });
      this.#sent = checking.catch(() => {});
    }, checkMs).unref();
  }

  /** From another connection: what a connection sends to itself through a pooler may arrive by chance. */
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

  /** Once for each time without a connection. */
  #complain(thrown: unknown, isConnecting: boolean): void {
    if (this.#hasComplained || this.#isClosed) return;
    this.#hasComplained = true;
    const reason = explainFailure(thrown, placeOf(this.#url), isConnecting);
    this.#logger?.warn("cannot listen to notifications of PostgreSQL: what other servers do is seen within a second", {
      reason: reason instanceof Error ? reason.message : String(reason),
    });
  }

  #warn(): void {
    if (this.#hasWarned || this.#isClosed) return;
    this.#hasWarned = true;
    this.#logger?.warn(
      "notifications of PostgreSQL do not arrive, as behind a pooler in transaction mode: what other servers do is " +
        "seen within a second; for milliseconds, give databaseDirect (AIKI_DATABASE_DIRECT) a url past the pooler, " +
        "or give Redis",
    );
  }
}

/** Whether its server is a standby, or was made read-only. */
async function takesNoWrites(client: Client): Promise<boolean> {
  const { rows } = await client.query<Row>(`SELECT ${isReadOnly} AS read_only`);
  return rows.some((row) => row.read_only === true);
}

async function isDirect(client: Client): Promise<boolean> {
  const { rows } = await client.query<Row>("SELECT pg_backend_pid() AS backend");
  return rows.every((row) => isBackend(client, Number(row.backend)));
}
