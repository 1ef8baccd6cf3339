/**
 * Which of a worker's runs occupy its slots.
 *
 *               idle(true), up to `count` at once
 *   occupied ─────────────────────────────────────> lent ──┐
 *      ^                                                   │ idle(false): also when all slots are occupied
 *      └───────────────────────────────────────────────────┘
 *
 * A run that needs no slot while it waits lends its slot, so that the worker claims another run.
 */

/** The slots of a worker. */
export interface Slots {
  /** How many are occupied. May exceed their number after runs took theirs back. */
  readonly busy: number;
  /** Begins with a slot that is occupied. */
  take(): Slot;
  /** Resolves when no run is left, with or without a slot. */
  empty(): Promise<void>;
}

/** The place of one run. */
export interface Slot {
  /** More runs came than slots were free, and not because runs took theirs back meanwhile. */
  readonly isExcess: boolean;
  /** Whether its run waits and needs no slot. */
  idle(isIdle: boolean): void;
  /** The run left the worker. */
  leave(): void;
}

export interface SlotsOptions {
  /** How many there are. As many runs may have lent theirs at once; further ones that wait keep theirs. */
  count: number;
  onFreed: () => void;
  /** A run took its slot back: claims under way may ask for too many. */
  onTakenBack: () => void;
}

interface Place {
  isIdle: boolean;
  isLent: boolean;
  /** It was lent and is occupied again. */
  isBack: boolean;
}

export function slots({ count, onFreed, onTakenBack }: SlotsOptions): Slots {
  const places = new Set<Place>();
  const waiting: Array<() => void> = [];
  let lent = 0;
  let back = 0;

  const isToLend = ({ isIdle, isLent }: Place) => isIdle && !isLent;

  const set = (place: Place, isLent: boolean, isBack: boolean): void => {
    lent += Number(isLent) - Number(place.isLent);
    back += Number(isBack) - Number(place.isBack);
    place.isLent = isLent;
    place.isBack = isBack;
  };

  const lend = (): void => {
    for (const place of places) {
      if (lent >= count) return;
      if (isToLend(place)) set(place, true, false);
    }
  };

  const idle = (place: Place, isIdle: boolean): void => {
    if (!places.has(place) || place.isIdle === isIdle) return;
    const before = lent;
    place.isIdle = isIdle;
    if (!isIdle && place.isLent) set(place, false, true);
    lend();
    if (lent > before) onFreed();
    if (lent < before) onTakenBack();
  };

  const leave = (place: Place): void => {
    if (!places.delete(place)) return;
    set(place, false, false);
    lend();
    onFreed();
    if (places.size === 0) for (const resolve of waiting.splice(0)) resolve();
  };

  return {
    get busy() {
      return places.size - lent;
    },
    take() {
      const isExcess = places.size - lent - back >= count;
      const place: Place = { isIdle: false, isLent: false, isBack: false };
      places.add(place);
      return { isExcess, idle: (isIdle) => idle(place, isIdle), leave: () => leave(place) };
    },
    empty: () => (places.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}
