/**
 * Which of a worker's runs occupy its slots.
 *
 *               setIdle(true), up to `count` at once
 *   occupied ─────────────────────────────────────> freed ─┐
 *      ^                                                   │ setIdle(false): also when all slots are occupied
 *      └───────────────────────────────────────────────────┘
 *
 * A run that needs no slot while it waits frees its slot, so that the worker claims another run.
 */

export interface SlotsOptions {
  /** The number of slots. At most as many runs may free their slots; further waiting runs keep theirs. */
  count: number;
  onFreed: () => void;
  /** A run took its slot back, so a pending claim may request too many runs. */
  onTakenBack: () => void;
}

/** The slot of one run. */
export interface Slot {
  /** Whether more runs were claimed than slots were free. Slots that runs took back after the claim do not count. */
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
  #freedCount = 0;
  #takenBackCount = 0;

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  /** How many slots are occupied. May exceed the number of slots after runs took their slots back. */
  get busy(): number {
    return this.#taken.size - this.#freedCount;
  }

  /** Returns a new occupied slot. */
  take(): Slot {
    const isExcess = this.busy - this.#takenBackCount >= this.#options.count;
    const slot = new TakenSlot(this, isExcess);
    this.#taken.add(slot);
    return slot;
  }

  /** Resolves when no run is left, whether its slot is occupied or freed. */
  empty(): Promise<void> {
    return this.#taken.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Called by its slots. */
  setIdle(slot: TakenSlot, isIdle: boolean): void {
    if (!this.#taken.has(slot) || slot.isIdle === isIdle) return;
    const before = this.#freedCount;
    slot.isIdle = isIdle;
    if (!isIdle && slot.state === "freed") this.#set(slot, "taken back");
    this.#freeIdle();
    if (this.#freedCount > before) this.#options.onFreed();
    if (this.#freedCount < before) this.#options.onTakenBack();
  }

  /** Called by its slots. */
  remove(slot: TakenSlot): void {
    if (!this.#taken.delete(slot)) return;
    this.#set(slot, "occupied");
    this.#freeIdle();
    this.#options.onFreed();
    if (this.#taken.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #freeIdle(): void {
    for (const slot of this.#taken) {
      if (this.#freedCount >= this.#options.count) return;
      if (slot.isIdle && slot.state !== "freed") this.#set(slot, "freed");
    }
  }

  #set(slot: TakenSlot, state: TakenSlot["state"]): void {
    this.#freedCount += Number(state === "freed") - Number(slot.state === "freed");
    this.#takenBackCount += Number(state === "taken back") - Number(slot.state === "taken back");
    slot.state = state;
  }
}

class TakenSlot implements Slot {
  readonly isExcess: boolean;
  isIdle = false;
  /** A slot that is taken back was freed before, and becomes occupied. */
  state: "occupied" | "freed" | "taken back" = "occupied";
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
