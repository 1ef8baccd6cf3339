/** The registry of one server: what it counts itself, and what it reads from storage when it is scraped. */

import type { Metrics } from "@aikirun/lib";
import { Counter, Histogram, Registry } from "prom-client";
import type { ObservedBatch } from "../engine/engine.ts";
import { runMetrics } from "./run-metrics.ts";

export interface ServerMetrics {
  /** Where other parts of this process may add metrics. */
  readonly metrics: Metrics;
  /** Counts one committed batch. */
  observe(batch: ObservedBatch): void;
  /** The metrics of one namespace, or of all if it is null, in the text format of Prometheus. */
  scrape(namespace: string | null): Promise<{ text: string; contentType: string }>;
}

export function serverMetrics(): ServerMetrics {
  const registry = new Registry();
  const metrics: Metrics = { Counter, Histogram, registers: [registry] };
  const countRuns = runMetrics(metrics);
  return {
    metrics,
    observe: ({ transitions }) => countRuns(transitions),
    async scrape(namespace) {
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
