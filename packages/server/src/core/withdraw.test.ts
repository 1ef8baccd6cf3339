import { withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, NewEntry, OpenWait } from "@aikirun/lib/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RunDriver } from "../../test/run-driver.ts";
import { awaitsChild, error, go, settings, suspend } from "../../test/runs.ts";
import { unboundIn } from "./bind.ts";
import type { NewFact, Run } from "./run.ts";

const minute = 60_000;

function awaits(name: string, ordinal = 0, durationMs: number | null = null): OpenWait {
  return { address: `event:${name}#${ordinal}`, type: "event", name, durationMs };
}

function sleeps(durationMs: number, ordinal = 0): OpenWait {
  return { address: `sleep:#${ordinal}`, type: "sleep", durationMs };
}

function withdrawal(address: Address): NewEntry {
  return { address: withdrawnAddress(address), value: { type: "withdrawn" } };
}

const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 0 } } as const;

describe("a withdrawn wait", () => {
  it.each([
    ["an event", awaits("paid")],
    ["a sleep", sleeps(minute)],
    ["the retry of a task", { address: "task:t#0/1/retry", type: "retry", durationMs: minute } as const],
    ["a child", awaitsChild(minute)],
  ])("a withdrawn wait of %s is closed, and records only its withdrawal", (_, wait) => {
    const driver = new RunDriver()
      .claim()
      .open(wait, sleeps(2 * minute, 9))
      .withdraw(wait.address)
      .pass(minute);
    expect(driver.entryTypes.filter((kind) => kind !== "recovered")).toEqual(["withdrawn"]);
    expect(driver.run.waits.map(({ address }) => address)).toEqual(["sleep:#9"]);
  });

  it("a withdrawn wait receives no later event", () => {
    const driver = new RunDriver()
      .claim()
      .open(awaits("paid", 0), awaits("paid", 1))
      .withdraw("event:paid#0")
      .send("paid");
    expect(driver.at("event:paid#0")).toBeUndefined();
    expect(driver.at("event:paid#1")).toEqual({ type: "received", name: "paid", nth: 0 });
  });

  it("a withdrawn wait does not open again, neither in the same report nor in a later one", () => {
    const driver = new RunDriver().send("paid").claim();
    driver.report(go, { entries: [withdrawal("event:paid#0")], opens: [awaits("paid")] });
    expect(driver.report(go, { opens: [awaits("paid"), sleeps(minute)] }).entryTypes).toEqual(["arrived", "withdrawn"]);
    expect(driver.run.waits.map(({ address }) => address)).toEqual(["sleep:#0"]);
    expect(driver.run.events.get("paid")).toEqual({ arrived: 1, taken: 0 });
  });

  it("a withdrawn wait does not count towards the limit, not even in the report that withdraws it", () => {
    const full = Array.from({ length: settings.maxOpenWaits }, (_, ordinal) => sleeps(minute, ordinal));
    const driver = new RunDriver().claim().open(...full);
    driver.report(go, { entries: full.map(({ address }) => withdrawal(address)), opens: [sleeps(minute, 99)] });
    expect(driver.run.waits.map(({ address }) => address)).toEqual(["sleep:#99"]);
  });

  it("a wait withdrawn in one attempt may be opened in the next", () => {
    const driver = new RunDriver()
      .claim()
      .open(awaits("paid"))
      .withdraw("event:paid#0")
      .report(failing)
      .pass(0)
      .claim();
    expect(driver.suspend(awaits("paid"))).toMatchObject({ status: "awaiting_event" });
  });

  it("withdrawing a wait that has ended does not change how it ended", () => {
    const driver = new RunDriver().claim().renew().open(sleeps(1_000)).pass(1_000).withdraw("sleep:#0");
    expect(driver.entryTypes).toEqual(["elapsed", "withdrawn"]);
  });

  it("repeating the report of a withdrawal changes nothing", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").open(awaits("paid", 1));
    const withdrawing = driver.reporting(go, { entries: [withdrawal("event:paid#0")] });
    const { run } = driver.do(withdrawing);
    driver.do(withdrawing);
    expect(driver.run).toEqual(run);
    const later = driver.open(sleeps(minute)).run;
    expect(driver.do(withdrawing).run).toEqual(later);
  });
});

describe("an event that a withdrawn wait had taken", () => {
  it("an event that a withdrawn wait gives back goes to the oldest open wait for its name", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid");
    driver.open(awaits("refused", 0), awaits("paid", 1), awaits("paid", 2));
    const { inbox } = driver.run;
    driver.withdraw("event:paid#0");
    expect(driver.at("event:paid#1")).toEqual({ type: "received", name: "paid", nth: 0 });
    expect(driver.run.waits.map(({ address }) => address)).toEqual(["event:refused#0", "event:paid#2"]);
    expect(driver.run.inbox).toBe(inbox + 1);
    expect(driver.run.events.get("paid")).toEqual({ arrived: 1, taken: 1 });
  });

  it("a run is not suspended before its worker has received an event that was given back", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").open(awaits("paid", 1), sleeps(minute));
    driver.report(suspend, { entries: [withdrawal("event:paid#0")] });
    expect(driver).toMatchObject({ status: "running", entryTypes: ["arrived", "received", "withdrawn", "received"] });
  });

  it("an event that was given back is taken by the next wait for its name, before later events", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").withdraw("event:paid#0").send("paid");
    expect(driver.run.events.get("paid")).toEqual({ arrived: 2, taken: 1, returned: [0] });
    driver.open(awaits("paid", 1)).open(awaits("paid", 2));
    expect(driver.at("event:paid#1")).toMatchObject({ nth: 0 });
    expect(driver.at("event:paid#2")).toMatchObject({ nth: 1 });
  });

  it("an event that was given back goes to a wait of the same report, but to none that it withdraws", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").open(awaits("paid", 1));
    driver.report(go, {
      entries: [withdrawal("event:paid#0"), withdrawal("event:paid#1")],
      opens: [awaits("paid", 2)],
    });
    expect(driver.at("event:paid#1")).toBeUndefined();
    expect(driver.at("event:paid#2")).toMatchObject({ nth: 0 });
  });

  it("events that were given back are taken in order of arrival", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0), awaits("paid", 1), awaits("paid", 2));
    driver.send("paid").send("paid").send("paid").withdraw("event:paid#2").withdraw("event:paid#0");
    expect(driver.run.events.get("paid")).toEqual({ arrived: 3, taken: 3, returned: [0, 2] });
    driver.withdraw("event:paid#1").open(awaits("paid", 3), awaits("paid", 4), awaits("paid", 5));
    const taken = [3, 4, 5].map((ordinal) => driver.at(`event:paid#${ordinal}`));
    expect(taken).toMatchObject([{ nth: 0 }, { nth: 1 }, { nth: 2 }]);
    expect(driver.run.events.get("paid")).toEqual({ arrived: 3, taken: 3 });
  });

  it("a wait with a passed deadline receives an event that was given back", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").withdraw("event:paid#0");
    expect(driver.open(awaits("paid", 1, 0)).at("event:paid#1")).toMatchObject({ type: "received", nth: 0 });
  });

  it("an event that an earlier attempt received stays received", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").report(failing).pass(0).claim();
    driver.withdraw("event:paid#0");
    expect(driver.run.events.get("paid")).toEqual({ arrived: 1, taken: 1 });
  });

  it("the run that a retry starts keeps an event that was given back as unbound", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0)).send("paid").withdraw("event:paid#0");
    driver.report({ type: "finish", outcome: { status: "failed", error, retryInMs: null } }).retry();
    expect(driver.effects.at(-1)).toMatchObject({
      run: { events: new Map([["paid", { arrived: 1, taken: 1, returned: [0] }]]) },
    });
  });

  it("an event that was given back is recorded with the call site of its new wait", () => {
    const callSite = { madeAfter: 1, identity: "second" };
    const driver = new RunDriver()
      .claim()
      .open(awaits("paid", 0))
      .send("paid")
      .open({ ...awaits("paid", 1), callSite });
    expect(driver.withdraw("event:paid#0").journal.at(-1)).toMatchObject({ address: "event:paid#1", callSite });
  });
});

type Move =
  | { type: "open" | "send"; name: string }
  | { type: "openTimed"; name: string; durationMs: number }
  | { type: "withdraw"; waits: number[]; opens: string[] }
  | { type: "pass"; ms: number }
  | { type: "crash" | "fail" };

const names = fc.constantFrom("paid", "refused");
const moves: fc.Arbitrary<Move[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: names.map((name): Move => ({ type: "open", name })) },
    { weight: 6, arbitrary: names.map((name): Move => ({ type: "send", name })) },
    { weight: 2, arbitrary: fc.tuple(names, fc.constantFrom(0, 500)).map(([name, ms]): Move => timed(name, ms)) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(fc.array(fc.nat(30), { minLength: 1, maxLength: 3 }), fc.array(names, { maxLength: 2 }))
        .map(([waits, opens]): Move => ({ type: "withdraw", waits, opens })),
    },
    { weight: 2, arbitrary: fc.constantFrom(100, 600).map((ms): Move => ({ type: "pass", ms })) },
    { weight: 1, arbitrary: fc.constantFrom<Move>({ type: "crash" }, { type: "fail" }) },
  ),
  { minLength: 5, maxLength: 50 },
);

function timed(name: string, durationMs: number): Move {
  return { type: "openTimed", name, durationMs };
}

/** A handler that opens waits and withdraws some of them, whether they have ended or not. */
class WithdrawingHandler {
  readonly driver: RunDriver = new RunDriver(
    {},
    { settings: { ...settings, maxOpenWaits: 1_000, maxCrashes: 1_000 } },
  ).claim();
  #opened: Address[] = [];
  #ordinal = 0;

  take(move: Move): void {
    const { driver } = this;
    switch (move.type) {
      case "open":
        driver.open(this.#wait(move.name));
        return;
      case "openTimed":
        driver.open(this.#wait(move.name, move.durationMs));
        return;
      case "send":
        driver.send(move.name);
        return;
      case "withdraw": {
        const chosen = new Set(move.waits.flatMap((index) => this.#opened[index % this.#opened.length] ?? []));
        this.#opened = this.#opened.filter((address) => !chosen.has(address));
        const opens = move.opens.map((name) => this.#wait(name));
        driver.report(go, { entries: [...chosen].map(withdrawal), opens });
        return;
      }
      case "pass":
        driver.renew().pass(move.ms);
        return;
      case "crash":
        driver.pass(90_000).claim();
        return;
      case "fail":
        driver.report(failing).pass(0).claim();
        this.#opened = [];
        return;
      default:
        move satisfies never;
    }
  }

  #wait(name: string, durationMs: number | null = null): OpenWait {
    const wait = awaits(name, this.#ordinal, durationMs);
    this.#ordinal += 1;
    this.#opened.push(wait.address);
    return wait;
  }
}

/** The numbers of the arrivals of a name that waits have taken and kept, one for each wait. */
function kept(journal: readonly NewFact[], name: string): number[] {
  const withdrawn = new Set(
    journal.flatMap(({ attempt, address, value }) => (value.type === "withdrawn" ? `${attempt} ${address}` : [])),
  );
  return journal.flatMap(({ attempt, address, value }) =>
    value.type === "received" && value.name === name && !withdrawn.has(`${attempt} ${withdrawnAddress(address)}`)
      ? value.nth
      : [],
  );
}

function unbound({ events }: Run, name: string): number[] {
  const { arrived, taken, returned = [] } = events.get(name) ?? { arrived: 0, taken: 0 };
  return [...returned, ...Array.from({ length: arrived - taken }, (_, index) => taken + index)];
}

describe("events of handlers that open and withdraw waits at random", () => {
  const always = (holds: (driver: RunDriver, before: Run, seen: number) => void) => {
    fc.assert(
      fc.property(moves, (all) => {
        const handler = new WithdrawingHandler();
        for (const move of all) {
          const before = handler.driver.run;
          const seen = handler.driver.journal.length;
          handler.take(move);
          holds(handler.driver, before, seen);
        }
      }),
      { numRuns: 300 },
    );
  };

  it("every event that arrived is unbound or kept by exactly one wait", () => {
    always(({ run, journal }) => {
      for (const name of ["paid", "refused"]) {
        const arrived = journal.filter(({ value }) => value.type === "arrived" && value.name === name).length;
        const all = [...kept(journal, name), ...unbound(run, name)].sort((left, right) => left - right);
        expect(all).toEqual(Array.from({ length: arrived }, (_, nth) => nth));
        expect(unbound(run, name)).toHaveLength(unboundIn(run.events.get(name) ?? { arrived: 0, taken: 0 }));
      }
    });
  });

  it("no event is unbound while a wait for its name is open", () => {
    always(({ run }) => {
      for (const { name = "" } of run.waits) {
        expect(unbound(run, name)).toEqual([]);
      }
    });
  });

  it("the oldest unbound event goes to the oldest open wait", () => {
    always(({ run, journal }, before, seen) => {
      for (const name of ["paid", "refused"]) {
        const bound = journal
          .slice(seen)
          .flatMap(({ value, address }) =>
            value.type === "received" && value.name === name ? [{ nth: value.nth, address }] : [],
          );
        const ordinals = bound.map(({ address }) => Number(address.split("#")[1]));
        expect(bound.map(({ nth }) => nth)).toEqual(bound.map(({ nth }) => nth).toSorted((a, b) => a - b));
        expect(ordinals).toEqual(ordinals.toSorted((a, b) => a - b));
        const left = unbound(run, name)[0] ?? Number.POSITIVE_INFINITY;
        const wasUnbound = new Set(unbound(before, name));
        // An event that was unbound before this step and still is arrived after all events that it bound.
        expect(bound.every(({ nth }) => nth < left || !wasUnbound.has(left))).toBe(true);
      }
    });
  });

  it("nothing is recorded at a wait after its withdrawal", () => {
    always(({ journal }) => {
      const withdrawn = new Map(
        journal.flatMap(({ attempt, address, value, seq }) =>
          value.type === "withdrawn" ? [[`${attempt} ${address}`, seq] as const] : [],
        ),
      );
      for (const { attempt, address, seq } of journal) {
        expect(seq).toBeLessThan(withdrawn.get(`${attempt} ${withdrawnAddress(address)}`) ?? Number.POSITIVE_INFINITY);
      }
    });
  });
});
