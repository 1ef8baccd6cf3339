import { describe, expect, it } from "vitest";
import { databaseClock } from "./clock.ts";

describe("what is known of the database's clock", () => {
  function clock() {
    let elapsed = 100;
    const known = databaseClock(() => elapsed);
    return {
      known,
      /** An answer that says what the clock says when half of the journey is over. */
      hear(tookMs: number, said = 1_000_000 + elapsed + tookMs / 2) {
        known.heard(said, elapsed, elapsed + tookMs);
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

  it("is nothing before it was heard", () => {
    expect(clock().lag).toBeNull();
  });

  it("is never ahead, and behind by less than the journey of what was heard", () => {
    const one = clock();
    one.hear(4);
    expect(one.lag).toBe(2);
    one.pass(1_000);
    expect(one.lag).toBe(2);
  });

  it("rests on the shortest journey of the last ten seconds", () => {
    const one = clock();
    one.hear(8);
    one.hear(2);
    one.hear(9);
    expect(one.lag).toBe(1);
    one.pass(10_001);
    one.hear(6);
    expect(one.lag).toBe(3);
  });

  it("never goes back behind what was heard, though the best estimate is behind that", () => {
    const one = clock();
    one.hear(8);
    one.hear(9, 1_000_116);
    expect(one.known.now()).toEqual({ now: 1_000_116, latest: 1_000_122 });
  });

  it("is not known from a journey of over ten milliseconds, nor from one long ago, nor once it was wrong", () => {
    const one = clock();
    one.hear(11);
    expect(one.lag).toBeNull();
    one.hear(2);
    one.pass(20_001);
    expect(one.lag).toBeNull();
    one.hear(2);
    one.known.forget();
    expect(one.lag).toBeNull();
  });
});
