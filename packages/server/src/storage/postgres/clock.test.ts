import { describe, expect, it } from "vitest";
import { databaseClock } from "./clock.ts";

describe("the estimate of the database's clock", () => {
  function clock() {
    let elapsed = 100;
    const known = databaseClock(() => elapsed);
    return {
      known,
      /** Receives the database's time, read after half of the round trip. */
      receive(tookMs: number, databaseTime = 1_000_000 + elapsed + tookMs / 2) {
        known.received(databaseTime, elapsed, elapsed + tookMs);
        elapsed += tookMs;
      },
      pass(ms: number) {
        elapsed += ms;
      },
      get lag() {
        const now = known.now()?.now ?? null;
        return now === null ? null : 1_000_000 + elapsed - now;
      },
    };
  }

  it("the clock estimate is null before a reply was received", () => {
    expect(clock().lag).toBeNull();
  });

  it("the clock estimate is never ahead, and is behind by less than the round trip", () => {
    const one = clock();
    one.receive(4);
    expect(one.lag).toBe(2);
    one.pass(1_000);
    expect(one.lag).toBe(2);
  });

  it("the clock estimate uses the shortest round trip of the last ten seconds", () => {
    const one = clock();
    one.receive(8);
    one.receive(2);
    one.receive(9);
    expect(one.lag).toBe(1);
    one.pass(10_001);
    one.receive(6);
    expect(one.lag).toBe(3);
  });

  it("the clock estimate is never before a received time, even if the best estimate is", () => {
    const one = clock();
    one.receive(8);
    one.receive(9, 1_000_116);
    expect(one.known.now()).toEqual({ now: 1_000_116, latest: 1_000_122 });
  });

  it("the clock estimate is null after a round trip over 10 ms, without a recent one, and once invalidated", () => {
    const one = clock();
    one.receive(11);
    expect(one.lag).toBeNull();
    one.receive(2);
    one.pass(20_001);
    expect(one.lag).toBeNull();
    one.receive(2);
    one.known.invalidate();
    expect(one.lag).toBeNull();
  });
});
