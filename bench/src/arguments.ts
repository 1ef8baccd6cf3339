import type { Mode } from "./stack.ts";
import { type Workload, workloads } from "./workloads.ts";

export function isMode(text: string): text is Mode {
  return text === "in-process" || text === "http";
}

export function isSize(text: string): text is "full" | "quick" {
  return text === "full" || text === "quick";
}

export function workloadNamed(name: string): Workload | undefined {
  return workloads.find((workload) => workload.name === name);
}
