import { AikiError } from "@aikirun/lib";

/** Waits for a free place, then reads the list. Throws `UNAVAILABLE` if too many wait already. */
export type ListQueue = <T>(read: () => Promise<T>) => Promise<T>;

export interface ListQueueOptions {
  /** Lists that are read at once. */
  atOnce: number;
  /** Lists that may wait; one more is refused. */
  waiting: number;
}

/** Reads a few lists at once, and others in order of arrival, so that connections remain free for other reads. */
export function listQueue({ atOnce, waiting }: ListQueueOptions): ListQueue {
  const queue: Array<() => void> = [];
  let underWay = 0;

  const turn = async (): Promise<void> => {
    if (underWay < atOnce) {
      underWay += 1;
      return;
    }
    if (queue.length >= waiting) {
      throw new AikiError(
        "UNAVAILABLE",
        `This server reads ${atOnce} lists of runs at a time, and ${waiting} more wait. Repeat the request later.`,
      );
    }
    // A list that was read hands its place over.
    await new Promise<void>((resolve) => queue.push(resolve));
  };

  return async (read) => {
    await turn();
    try {
      return await read();
    } finally {
      const next = queue.shift();
      if (next === undefined) underWay -= 1;
      else next();
    }
  };
}
