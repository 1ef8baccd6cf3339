import { runs } from "./runs.ts";
import { type Table, table } from "./table.ts";

/** The tables to move. Live workers are not moved, because they register again. */
export const tables: readonly Table[] = [table(runs)];
