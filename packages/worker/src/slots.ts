/**
 * Which of a worker's runs occupy its slots.
 *
 *               setIdle(true), up to `count` at once
 *   occupied ─────────────────────────────────────> lent ──┐
 *      ^                                                   │ setIdle(false): also when all slots are occupied
 *      └───────────────────────────────────────────────────┘
 *
 * A run that needs no slot while it waits lends its slot, so that the worker claims another run.
 */

export interface SlotsOptions {
  /** The number of slots. At most as many runs may lend their slots at once; further waiting runs keep theirs. */
  count: number;
  onFreed: () => void;
  /** A run took its slot back, so a pending claim may request too many runs. */
  onTakenBack: () => void;
}

/** The slot of one run. */
export interface Slot {
  /** Whether more runs were claimed than slots were free. Slots that were taken back meanwhile do not count. */
  readonly isExcess: boolean;
  /** Sets whether the run waits and needs no slot. */
  setIdle(isIdle: boolean): void;
  /** Call when the run has left the worker. */
  leave(): void;
}

/** The slots of a worker. */
export class Slots {
  readonly #options: SlotsOptions;
  readonly #taken = new Set<TakenSlot>();
  #waiting: Array<() => void> = [];
  #lent = 0;
  #back = 0;

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  /** How many are occupied. May exceed the number of slots after runs took theirs back. */
  get busy(): number {
    return this.#taken.size - this.#lent;
  }

  /** Returns a new occupied slot. */
  take(): Slot {
    const isExcess = this.busy - this.#back >= this.#options.count;
    const slot = new TakenSlot(this, isExcess);
    this.#taken.add(slot);
    return slot;
  }

  /** Resolves when no run is left, occupied slots and lent ones included. */
  empty(): Promise<void> {
    return this.#taken.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Called by its slots. */
  setIdle(slot: TakenSlot, isIdle: boolean): void {
    if (!this.#taken.has(slot) || slot.isIdle === isIdle) return;
    const before = this.#lent;
    slot.isIdle = isIdle;
    if (!isIdle && slot.state === "lent") this.#set(slot, "taken back");
    this.#lend();
    if (this.#lent > before) this.#options.onFreed();
    if (this.#lent < before) this.#options.onTakenBack();
  }

  /** Called by its slots. */
  remove(slot: TakenSlot): void {
    if (!this.#taken.delete(slot)) return;
    this.#set(slot, "occupied");
    this.#lend();
    this.#options.onFreed();
    if (this.#taken.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #lend(): void {
    for (const slot of this.#taken) {
      if (this.#lent >= this.#options.count) return;
      if (slot.isIdle && slot.state !== "lent") this.#set(slot, "lent");
    }
  }

  #set(slot: TakenSlot, state: TakenSlot["state"]): void {
    this.#lent += Number(state === "lent") - Number(slot.state === "lent");
    this.#back += Number(state === "taken back") - Number(slot.state === "taken back");
    slot.state = state;
  }
}

class TakenSlot implements Slot {
  readonly isExcess: boolean;
  isIdle = false;
  /** A slot that is taken back was lent before and becomes occupied. */
  state: "occupied" | "lent" | "taken back" = "occupied";
  readonly #slots: Slots;

  constructor(slots: Slots, isExcess: boolean) {
    this.#slots = slots;
    this.isExcess = isExcess;
  }

  setIdle(isIdle: boolean): void {
    this.#slots.setIdle(this, isIdle);
  }

  leave(): void {
    this.#slots.remove(this);
  }
}
