/** The network between processes: messages are delayed, reordered, duplicated or lost, as request or as reply. */

import { AikiError, isAikiError } from "@aikirun/lib";
import {
  type Api,
  apiFrom,
  type CallOptions,
  type ReplyOf,
  type ReportReply,
  type ReportRequest,
  type RequestOf,
  type Verb,
  type VerbCall,
} from "@aikirun/lib/protocol";
import type { NetworkKnobs } from "./knobs.ts";
import { describe } from "./messages.ts";
import type { Prng } from "./prng.ts";
import { never, type Process } from "./process.ts";
import { reportKey } from "./rules.ts";
import type { World } from "./world.ts";

/** A server that can be called while its process is alive. */
export interface Node {
  process: Process;
  api: Api;
}

/** A request on its way to a server, or in execution there. */
interface RequestInFlight {
  caller: Process;
  node: Node;
  /** Makes the caller's request fail without a reply. */
  failCaller: () => void;
  /** Aborts the request at the server, because the caller no longer waits. */
  abortRequest: () => void;
}

export class Network {
  readonly #world: World;
  readonly #knobs: NetworkKnobs;
  readonly #prng: Prng;
  readonly #inFlight = new Set<RequestInFlight>();
  readonly #disconnected = new Set<Process>();
  nodes: Node[] = [];
  /** Reports that release a run, with their reason. */
  readonly releases: Map<string, string> = new Map();
  /** Sessions of workers that announced that they stop. */
  readonly leaving: Set<string> = new Set();
  /** Whether faults may happen now. */
  hasFaults = true;
  /** Called with every reply to a report, before the reply may be lost. */
  onReported: (request: ReportRequest, reply: ReportReply) => void = () => {};

  constructor(world: World, knobs: NetworkKnobs) {
    this.#world = world;
    this.#knobs = knobs;
    this.#prng = world.prng.fork("network");
  }

  apiFor(caller: Process): Api {
    const call =
      <V extends Verb>(verb: V, run: RunCall<V>): VerbCall<V> =>
      (request, options) =>
        caller.isAlive ? this.#call(caller, verb, request, options?.signal, run) : never();
    const report = call("report", (api, request, options) => this.#report(api, request, options));
    const renew = call("renew", (api, request, options) => api.renew(request, options));
    return {
      ...apiFrom((verb) => call(verb, (api, request, options) => api[verb](request, options))),
      report: (request, options) => {
        this.#noteReleases(request);
        return report(request, options);
      },
      renew: (request, options) => {
        if (request.leaving === true) this.leaving.add(request.session);
        return renew(request, options);
      },
    };
  }

  async #report(api: Api, request: ReportRequest, options: CallOptions | undefined): Promise<ReportReply> {
    const reply = await api.report(request, options);
    this.onReported(request, reply);
    return reply;
  }

  #noteReleases({ reports }: ReportRequest): void {
    for (const { runId, fence, reportId, next } of reports) {
      if (next.type === "release") this.releases.set(reportKey(runId, fence, reportId), next.reason);
    }
  }

  /** Drops all messages to and from this process until `reconnect`. */
  disconnect(process: Process): void {
    this.#disconnected.add(process);
    this.#world.trace(`${process.name} is disconnected`);
  }

  reconnect(process: Process): void {
    if (this.#disconnected.delete(process)) this.#world.trace(`${process.name} is reachable again`);
  }

  /** Fails the requests to a dead process, and aborts most of its own requests. */
  processDied(process: Process): void {
    for (const inFlight of [...this.#inFlight]) {
      if (inFlight.node.process === process) inFlight.failCaller();
      else if (inFlight.caller === process && this.#prng.chance(0.7)) inFlight.abortRequest();
    }
  }

  #call<V extends Verb>(
    caller: Process,
    verb: V,
    request: RequestOf<V>,
    signal: AbortSignal | undefined,
    run: RunCall<V>,
  ): Promise<ReplyOf<V>> {
    const node = this.#pick(caller);
    const line = `${caller.name} ${node?.process.name ?? "no server"} ${verb}`;
    return new Promise<ReplyOf<V>>((resolve, reject) => {
      const exchange = new SimulatedExchange<ReplyOf<V>>(this.#world, caller, line, { resolve, reject });
      if (signal?.aborted === true) return exchange.fail("ABORTED", 0);
      const leave = new AbortController();
      const abortRequest = () => leave.abort();
      exchange.listen(signal, () =>
        this.#world.after(this.#delay(), { process: null, label: line, run: abortRequest }),
      );
      if (node === null || this.#loses(this.#knobs.dropRequest) || this.#disconnected.has(caller)) {
        this.#world.trace(`${line} is lost`);
        return exchange.fail("UNREACHABLE", this.#prng.below(node === null ? 100 : 5_000));
      }
      const text = JSON.stringify(request);
      this.#world.trace(`${line} ${describe(verb, request, this.#world.names)}`);
      const inFlight: RequestInFlight = {
        caller,
        node,
        failCaller: () => exchange.fail("UNREACHABLE", this.#prng.below(50)),
        abortRequest,
      };
      this.#inFlight.add(inFlight);
      exchange.onEnd(() => this.#inFlight.delete(inFlight));
      this.#send(node, line, text, leave.signal, run, (reply) => this.#answer(exchange, line, reply));
      const mayDuplicate = verb !== "claim" || this.#knobs.duplicatesClaims;
      if (mayDuplicate && this.#loses(this.#knobs.duplicate)) this.#duplicate(node, line, text, run);
    });
  }

  /** Sends the same request again and ignores the reply. */
  #duplicate<V extends Verb>(node: Node, line: string, text: string, run: RunCall<V>): void {
    const late = this.#delay() + (this.#prng.chance(0.3) ? this.#prng.below(15_000) : 0);
    const again = {
      process: null,
      label: line,
      run: () => this.#send(node, `${line} again`, text, undefined, run, () => {}),
    };
    this.#world.after(late, again);
  }

  #send<V extends Verb>(
    node: Node,
    line: string,
    text: string,
    signal: AbortSignal | undefined,
    run: RunCall<V>,
    then: (reply: ReplyOf<V> | AikiError) => void,
  ): void {
    const { process, api } = node;
    const execute = () => {
      const request: RequestOf<V> = JSON.parse(text);
      run(api, request, signal === undefined ? undefined : { signal }).then(then, (error) => then(faultOf(error)));
    };
    this.#world.after(this.#delay(), {
      process: null,
      label: line,
      run: () => this.#world.push({ process, label: line, run: execute }),
    });
  }

  #answer<Reply>(exchange: SimulatedExchange<Reply>, line: string, reply: Reply | AikiError): void {
    if (this.#loses(this.#knobs.loseReply)) {
      this.#world.trace(`${line} was executed, but the reply is lost`);
      exchange.fail("UNREACHABLE", this.#prng.below(5_000));
    } else if (isAikiError(reply)) {
      exchange.fail(reply.code, this.#delay());
    } else {
      exchange.succeed(JSON.stringify(reply), this.#delay());
    }
  }

  #pick(caller: Process): Node | null {
    const alive = this.nodes.filter(({ process }) => process.isAlive);
    return alive.length === 0 || !caller.isAlive ? null : this.#prng.pick(alive);
  }

  #loses(probability: number): boolean {
    return this.hasFaults && probability > 0 && this.#prng.chance(probability);
  }

  #delay(): number {
    const { delayMs, slowMessage: straggle } = this.#knobs;
    const usual = delayMs === 0 ? 0 : this.#prng.below(delayMs);
    return this.#loses(straggle) ? usual + this.#prng.magnitude(100, 20_000) : usual;
  }
}

/** Calls one verb of a server. */
type RunCall<V extends Verb> = (api: Api, ...args: Parameters<VerbCall<V>>) => Promise<ReplyOf<V>>;

interface Settle<Reply> {
  resolve: (reply: Reply) => void;
  reject: (error: AikiError) => void;
}

/** One call as its caller sees it: it gets one reply, or none. */
class SimulatedExchange<Reply> {
  readonly #world: World;
  readonly #caller: Process;
  readonly #line: string;
  readonly #settle: Settle<Reply>;
  #isOver = false;
  #ends: Array<() => void> = [];

  constructor(world: World, caller: Process, line: string, settle: Settle<Reply>) {
    this.#world = world;
    this.#caller = caller;
    this.#line = line;
    this.#settle = settle;
  }

  onEnd(end: () => void): void {
    this.#ends.push(end);
  }

  /** Fails the call when the caller aborts it. */
  listen(signal: AbortSignal | undefined, then: () => void): void {
    if (signal === undefined) return;
    const abort = () => {
      this.fail("ABORTED", 0);
      then();
    };
    signal.addEventListener("abort", abort, { once: true });
    this.onEnd(() => signal.removeEventListener("abort", abort));
  }

  fail(code: AikiError["code"], delayMs: number): void {
    this.#later(delayMs, () => this.#settle.reject(new AikiError(code, `${this.#line}: ${code}`)));
  }

  succeed(text: string, delayMs: number): void {
    this.#later(delayMs, () => {
      const reply: Reply = JSON.parse(text);
      this.#settle.resolve(reply);
    });
  }

  #later(delayMs: number, then: () => void): void {
    const run = () => {
      if (this.#isOver) return;
      this.#isOver = true;
      for (const end of this.#ends) end();
      then();
    };
    this.#world.after(delayMs, { process: this.#caller, label: this.#line, run });
  }
}

/** Converts a fault as HTTP does: the fault only says that the caller may retry. */
function faultOf(error: unknown): AikiError {
  const isKnown = isAikiError(error) && (error.code === "BAD_REQUEST" || error.code === "ABORTED");
  if (isKnown) return error;
  return new AikiError("UNAVAILABLE", "The server cannot process this request now.", { cause: error });
}
