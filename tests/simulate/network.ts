/** The wire between processes: late, out of order, doubled, lost on the way there or on the way back. */

import { AikiError, isAikiError } from "@aikirun/lib";
import type { Api, CallOptions, RenewRequest, ReportReply, ReportRequest, Verb } from "@aikirun/lib/protocol";
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
interface Flight {
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
  readonly #flights = new Set<Flight>();
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
    const call = <Request, Reply>(
      verb: Verb,
      request: Request,
      options: CallOptions | undefined,
      run: Run<Request, Reply>,
    ) => (caller.isAlive ? this.#call(caller, verb, request, options?.signal, run) : never());
    return {
      start: (request, options) => call("start", request, options, (api, given, with_) => api.start(given, with_)),
      claim: (request, options) => call("claim", request, options, (api, given, with_) => api.claim(given, with_)),
      report: (request, options) =>
        this.#noted(request) &&
        call("report", request, options, (api, given, with_) => this.#report(api, given, with_)),
      renew: (request, options) =>
        this.#left(request) && call("renew", request, options, (api, given, with_) => api.renew(given, with_)),
      signal: (request, options) => call("signal", request, options, (api, given, with_) => api.signal(given, with_)),
      watch: (request, options) => call("watch", request, options, (api, given, with_) => api.watch(given, with_)),
      find: (request, options) => call("find", request, options, (api, given, with_) => api.find(given, with_)),
      read: (request, options) => call("read", request, options, (api, given, with_) => api.read(given, with_)),
    };
  }

  async #report(api: Api, request: ReportRequest, options: CallOptions | undefined): Promise<ReportReply> {
    const reply = await api.report(request, options);
    this.onReported(request, reply);
    return reply;
  }

  #noted({ reports }: ReportRequest): true {
    for (const { runId, fence, reportId, next } of reports) {
      if (next.type === "release") this.releases.set(reportKey(runId, fence, reportId), next.reason);
    }
    return true;
  }

  #left({ session, leaving = false }: RenewRequest): true {
    if (leaving) this.leaving.add(session);
    return true;
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

  #call<Request, Reply>(
    caller: Process,
    verb: Verb,
    request: Request,
    signal: AbortSignal | undefined,
    run: Run<Request, Reply>,
  ): Promise<Reply> {
    const node = this.#pick(caller);
    const line = `${caller.name} ${node?.process.name ?? "nobody"} ${verb}`;
    return new Promise<Reply>((resolve, reject) => {
      const exchange = new Exchange<Reply>(this.#world, caller, line, { resolve, reject });
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
      const flight: Flight = {
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
  #double<Request, Reply>(node: Node, line: string, text: string, run: Run<Request, Reply>): void {
    const late = this.#delay() + (this.#prng.chance(0.3) ? this.#prng.below(15_000) : 0);
    const again = {
      process: null,
      label: line,
      run: () => this.#send(node, `${line} again`, text, undefined, run, () => {}),
    };
    this.#world.after(late, again);
  }

  #send<Request, Reply>(
    node: Node,
    line: string,
    text: string,
    signal: AbortSignal | undefined,
    run: Run<Request, Reply>,
    then: (reply: Reply | AikiError) => void,
  ): void {
    const { process, api } = node;
    const execute = () => {
      const request: Request = JSON.parse(text);
      run(api, request, signal === undefined ? undefined : { signal }).then(then, (error) => then(faultOf(error)));
    };
    this.#world.after(this.#delay(), {
      process: null,
      label: line,
      run: () => this.#world.push({ process, label: line, run: execute }),
    });
  }

  #answer<Reply>(exchange: Exchange<Reply>, line: string, reply: Reply | AikiError): void {
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

type Run<Request, Reply> = (api: Api, request: Request, options: CallOptions | undefined) => Promise<Reply>;

interface Settle<Reply> {
  resolve: (reply: Reply) => void;
  reject: (error: AikiError) => void;
}

/** One call as its caller sees it: answered once, or not at all. */
class Exchange<Reply> {
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
