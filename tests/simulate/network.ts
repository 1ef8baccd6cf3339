/** The wire between processes: late, out of order, doubled, lost on the way there or on the way back. */

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

/** A server that can be called while its process lives. */
export interface Node {
  process: Process;
  api: Api;
}

/** What is under way to a node, or in its hands. */
interface RequestInFlight {
  caller: Process;
  node: Node;
  /** The caller learns that no answer will come. */
  breakOff: () => void;
  /** The node learns that nobody waits any more. */
  hangUp: () => void;
}

export class Network {
  readonly #world: World;
  readonly #knobs: NetworkKnobs;
  readonly #prng: Prng;
  readonly #flights = new Set<RequestInFlight>();
  readonly #cut = new Set<Process>();
  nodes: Node[] = [];
  /** Reports that hand a run back, with the reason they give. */
  readonly releases: Map<string, string> = new Map();
  /** Sessions whose workers said that they stop. */
  readonly leaving: Set<string> = new Set();
  /** Whether faults may happen now. */
  isHostile = true;
  /** Hears what a server answered to reports, before the answer may be lost. */
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

  /** Nothing reaches this process, nor anything from it, until healed. */
  cut(process: Process): void {
    this.#cut.add(process);
    this.#world.trace(`${process.name} is cut off`);
  }

  mend(process: Process): void {
    if (this.#cut.delete(process)) this.#world.trace(`${process.name} is reachable again`);
  }

  /** A process died: its callers learn of it, and those it called may. */
  died(process: Process): void {
    for (const flight of [...this.#flights]) {
      if (flight.node.process === process) flight.breakOff();
      else if (flight.caller === process && this.#prng.chance(0.7)) flight.hangUp();
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
    const line = `${caller.name} ${node?.process.name ?? "nobody"} ${verb}`;
    return new Promise<ReplyOf<V>>((resolve, reject) => {
      const exchange = new SimulatedExchange<ReplyOf<V>>(this.#world, caller, line, { resolve, reject });
      if (signal?.aborted === true) return exchange.fail("ABORTED", 0);
      const leave = new AbortController();
      const hangUp = () => leave.abort();
      exchange.listen(signal, () => this.#world.after(this.#delay(), { process: null, label: line, run: hangUp }));
      if (node === null || this.#loses(this.#knobs.dropRequest) || this.#cut.has(caller)) {
        this.#world.trace(`${line} is lost`);
        return exchange.fail("UNREACHABLE", this.#prng.below(node === null ? 100 : 5_000));
      }
      const text = JSON.stringify(request);
      this.#world.trace(`${line} ${describe(verb, request, this.#world.names)}`);
      const flight: RequestInFlight = {
        caller,
        node,
        breakOff: () => exchange.fail("UNREACHABLE", this.#prng.below(50)),
        hangUp,
      };
      this.#flights.add(flight);
      exchange.onEnd(() => this.#flights.delete(flight));
      this.#send(node, line, text, leave.signal, run, (reply) => this.#answer(exchange, line, reply));
      const mayDouble = verb !== "claim" || this.#knobs.doublesClaims;
      if (mayDouble && this.#loses(this.#knobs.duplicate)) this.#double(node, line, text, run);
    });
  }

  /** The same request once more, whose answer nobody waits for. */
  #double<V extends Verb>(node: Node, line: string, text: string, run: RunCall<V>): void {
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
      this.#world.trace(`${line} was done, but the answer is lost`);
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
    return this.isHostile && probability > 0 && this.#prng.chance(probability);
  }

  #delay(): number {
    const { delayMs, straggle } = this.#knobs;
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

/** One call as its caller sees it: answered once, or not at all. */
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

  /** The caller may give up. */
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

/** What HTTP makes of a fault: the caller learns no more than that it may come back. */
function faultOf(error: unknown): AikiError {
  const isKnown = isAikiError(error) && (error.code === "BAD_REQUEST" || error.code === "ABORTED");
  if (isKnown) return error;
  return new AikiError("UNAVAILABLE", "The server cannot answer this now.", { cause: error });
}
