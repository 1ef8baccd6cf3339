import { runs } from "./runs.ts";
import { type Table, table } from "./table.ts";

/** Everything that lasts. Which workers live is of the moment, and is not moved. */
export const tables: readonly Table[] = [table(runs)];
