/** The registry of one server: what it counts itself, and what it reads from storage when it is scraped. */

import type { Env, Logger, Metrics } from "@aikirun/lib";
import { createHistogram } from "@aikirun/lib/internal";
import type { Verb } from "@aikirun/lib/protocol";
import { Counter, Histogram, Registry } from "prom-client";
import type { ObservedBatch } from "../engine/engine.ts";
import { observedKeys, observedStorage, StorageFaults } from "../storage/faults.ts";
import type { KeyedStorage } from "../storage/keys.ts";
import { databaseMetrics } from "./database-metrics.ts";
import * as definitions from "./definitions.ts";
import { runMetrics } from "./run-metrics.ts";
import { measuredStorage, storeErrors } from "./store-metrics.ts";

export interface ServerMetricsOptions {
  /** The opened database, without any observer. */
  storage: KeyedStorage;
  env: Pick<Env, "elapsed">;
  logger: Logger;
}

export interface ServerMetrics {
  /** The storage; its faults are logged and counted, and its operations are measured. */
  readonly storage: KeyedStorage;
  /** Where other parts of this process may add metrics. */
  readonly metrics: Metrics;
  /** Counts one committed batch. */
  observe(batch: ObservedBatch): void;
  /** Begins to measure one request; the result is called with the HTTP status of the reply. */
  timeRequest(verb: Verb): (status: number) => void;
  /** The metrics of one namespace, or of all if it is null, in the text format of Prometheus. */
  scrape(namespace: string | null): Promise<{ text: string; contentType: string }>;
}

export function serverMetrics({ storage: opened, env, logger }: ServerMetricsOptions): ServerMetrics {
  const registry = new Registry();
  const metrics: Metrics = { Counter, Histogram, registers: [registry] };
  const countRuns = runMetrics(metrics);
  const requests = createHistogram(metrics, definitions.httpDuration);
  const faults = new StorageFaults({ env, logger, count: storeErrors(metrics) });
  const storage: KeyedStorage = {
    ...measuredStorage(observedStorage(opened, faults), metrics, env),
    checkWritable: () => faults.observe("write", opened.checkWritable()),
    keys: observedKeys(opened.keys, faults),
  };
  const readDatabase = databaseMetrics({ registry, storage, env });
  return {
    storage,
    metrics,
    timeRequest(verb) {
      const began = env.elapsed();
      return (status) => requests.observe({ verb, status: String(status) }, (env.elapsed() - began) / 1_000);
    },
    observe: ({ transitions }) => countRuns(transitions),
    async scrape(namespace) {
      await readDatabase();
      const text = await registry.metrics();
      return { text: namespace === null ? text : ofNamespace(text, namespace), contentType: registry.contentType };
    },
  };
}

/** The first label of a sample if it is `namespace`; in a histogram, `le` precedes it. */
const namespaceLabel = /^\w+\{(?:le="[^"]*",)?namespace="((?:[^"\\]|\\.)*)"/;

/** Without the samples of other namespaces. Samples without a namespace describe the server. */
function ofNamespace(text: string, namespace: string): string {
  const own = namespace.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
  const isVisible = (line: string) => (namespaceLabel.exec(line)?.[1] ?? own) === own;
  return text.split("\n").filter(isVisible).join("\n");
}
