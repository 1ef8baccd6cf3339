/** What the Kubernetes manifests must say. A field that no schema here knows is refused, so that a typo is. */

import { parseAllDocuments } from "yaml";
import { z } from "zod";
import type { Commands } from "./commands.ts";
import { sentences } from "./sentences.ts";

const labels = z.record(z.string(), z.string());
const amount = z.string().regex(/^\d+(m|Mi|Gi)?$/);
const selected = z.strictObject({ matchLabels: labels });

const variable = z.strictObject({
  name: z.string(),
  value: z.string().optional(),
  valueFrom: z
    .strictObject({
      secretKeyRef: z.strictObject({ name: z.string(), key: z.string(), optional: z.boolean().optional() }),
    })
    .optional(),
});

const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.enum(["/health/live", "/health/ready"]), port: z.string() }),
  periodSeconds: z.int(),
  timeoutSeconds: z.int().optional(),
  failureThreshold: z.int().optional(),
});

const container = z.strictObject({
  name: z.string(),
  image: z.string().regex(/:\d+\.\d+\.\d+$/, "names a version"),
  args: z.array(z.string()).optional(),
  ports: z.array(z.strictObject({ name: z.string(), containerPort: z.int() })).default([]),
  env: z.array(variable),
  startupProbe: probe.optional(),
  readinessProbe: probe.optional(),
  livenessProbe: probe.optional(),
  lifecycle: z
    .strictObject({ preStop: z.strictObject({ exec: z.strictObject({ command: z.array(z.string()) }) }) })
    .optional(),
  resources: z.strictObject({
    requests: z.strictObject({ cpu: amount, memory: amount }),
    limits: z.strictObject({ memory: amount }),
  }),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal("ALL")]) }),
  }),
});

const pod = z.strictObject({
  automountServiceAccountToken: z.literal(false),
  enableServiceLinks: z.literal(false),
  terminationGracePeriodSeconds: z.int().default(30),
  restartPolicy: z.literal("Never").optional(),
  securityContext: z.strictObject({
    runAsNonRoot: z.literal(true),
    runAsUser: z.int().min(1),
    runAsGroup: z.int().min(1),
    seccompProfile: z.strictObject({ type: z.literal("RuntimeDefault") }),
  }),
  topologySpreadConstraints: z
    .array(
      z.strictObject({
        maxSkew: z.int(),
        topologyKey: z.string(),
        whenUnsatisfiable: z.enum(["ScheduleAnyway", "DoNotSchedule"]),
        labelSelector: selected,
      }),
    )
    .optional(),
  containers: z.tuple([container]),
});

const template = z.strictObject({ metadata: z.strictObject({ labels }), spec: pod });
const metadata = z.strictObject({ name: z.string(), labels: labels.optional() });

const deployment = z.strictObject({
  apiVersion: z.literal("apps/v1"),
  kind: z.literal("Deployment"),
  metadata,
  spec: z.strictObject({
    replicas: z.int().min(2),
    selector: selected,
    strategy: z
      .strictObject({
        type: z.literal("RollingUpdate"),
        rollingUpdate: z.strictObject({ maxSurge: z.int().min(1), maxUnavailable: z.literal(0) }),
      })
      .optional(),
    template,
  }),
});

const job = z.strictObject({
  apiVersion: z.literal("batch/v1"),
  kind: z.literal("Job"),
  metadata: z.strictObject({ generateName: z.string() }),
  spec: z.strictObject({ backoffLimit: z.int(), ttlSecondsAfterFinished: z.int(), template }),
});

const service = z.strictObject({
  apiVersion: z.literal("v1"),
  kind: z.literal("Service"),
  metadata,
  spec: z.strictObject({
    selector: labels,
    ports: z.array(z.strictObject({ name: z.string(), port: z.int(), targetPort: z.string() })),
  }),
});

const budget = z.strictObject({
  apiVersion: z.literal("policy/v1"),
  kind: z.literal("PodDisruptionBudget"),
  metadata,
  spec: z.strictObject({ minAvailable: z.int().min(1), selector: selected }),
});

const policy = z.strictObject({
  apiVersion: z.literal("networking.k8s.io/v1"),
  kind: z.literal("NetworkPolicy"),
  metadata,
  spec: z.strictObject({
    podSelector: selected,
    policyTypes: z.tuple([z.literal("Ingress")]),
    ingress: z.array(
      z.strictObject({
        from: z.array(z.strictObject({ podSelector: selected })),
        ports: z.array(z.strictObject({ protocol: z.literal("TCP"), port: z.string() })),
      }),
    ),
  }),
});

const manifest = z.discriminatedUnion("kind", [deployment, job, service, budget, policy]);

type Manifest = z.infer<typeof manifest>;
type Container = z.infer<typeof container>;
type Pod = z.infer<typeof pod>;

export interface ClusterFacts {
  commands: Commands;
  /** What a server takes to close. Milliseconds. */
  graceMs: number;
  /** The port that the image exposes. */
  port: number;
  /** The keys that the documents put into a Secret, by its name. */
  secrets: ReadonlyMap<string, ReadonlySet<string>>;
}

/** `files`: texts by path. */
export function kubernetesComplaints(files: ReadonlyMap<string, string>, facts: ClusterFacts): string[] {
  const manifests: Manifest[] = [];
  const complaints: string[] = [];
  for (const [path, text] of files) {
    for (const document of parseAllDocuments(text)) {
      complaints.push(...document.errors.map((error) => `${path}: ${error.message}`));
      const parsed = manifest.safeParse(document.toJS());
      if (parsed.success) manifests.push(parsed.data);
      else complaints.push(...sentences(parsed.error).map((sentence) => `${path}: ${sentence}`));
    }
  }
  return [...complaints, ...manifests.flatMap((one) => complaintsOf(one, manifests, facts))];
}

function complaintsOf(one: Manifest, all: readonly Manifest[], facts: ClusterFacts): string[] {
  switch (one.kind) {
    case "Deployment": {
      const { selector, template: pods } = one.spec;
      const isFound = includes(pods.metadata.labels, selector.matchLabels);
      const found = isFound ? [] : ["its selector does not find its pods"];
      return [...found, ...podComplaints(pods.spec, facts)].map((text) => `Deployment ${one.metadata.name}: ${text}`);
    }
    case "Job":
      return podComplaints(one.spec.template.spec, facts).map((text) => `Job ${one.metadata.generateName}: ${text}`);
    case "Service": {
      const [target] = deploymentsWith(one.spec.selector, all);
      const names = target?.spec.template.spec.containers.flatMap(({ ports }) => ports.map(({ name }) => name)) ?? [];
      const lost = one.spec.ports.filter(({ targetPort }) => !names.includes(targetPort));
      return lost.map(({ targetPort }) => `Service ${one.metadata.name}: no pod has a port ${targetPort}`);
    }
    case "PodDisruptionBudget": {
      const [target] = deploymentsWith(one.spec.selector.matchLabels, all);
      const isTight = one.spec.minAvailable >= (target?.spec.replicas ?? 0);
      return isTight ? [`PodDisruptionBudget ${one.metadata.name}: no pod may ever be moved`] : [];
    }
    case "NetworkPolicy": {
      const isEmpty = deploymentsWith(one.spec.podSelector.matchLabels, all).length === 0;
      return isEmpty ? [`NetworkPolicy ${one.metadata.name}: it applies to no pod`] : [];
    }
    default:
      return one satisfies never;
  }
}

function podComplaints(spec: Pod, facts: ClusterFacts): string[] {
  const [one] = spec.containers;
  const [image] = one.image.split(":");
  const known = image === "aiki" ? ours(one, spec, facts) : theirs(one, spec);
  return [...known, ...secretComplaints(one, facts)];
}

function ours(one: Container, spec: Pod, { commands, graceMs, port }: ClusterFacts): string[] {
  const args = one.args ?? ["server"];
  const complaints = commands.complaints(
    args,
    one.env.map(({ name }) => name),
  );
  if (args[0] !== "server") return complaints;
  const wanted = {
    startupProbe: "/health/live",
    readinessProbe: "/health/ready",
    livenessProbe: "/health/live",
  } as const;
  const names = one.ports.map(({ name }) => name);
  for (const kind of ["startupProbe", "readinessProbe", "livenessProbe"] as const) {
    const asked = one[kind]?.httpGet;
    if (asked?.path !== wanted[kind] || !names.includes(asked.port)) {
      complaints.push(`its ${kind} does not ask for ${wanted[kind]} at a port of its own`);
    }
  }
  if (!one.ports.some(({ containerPort }) => containerPort === port)) complaints.push(`it has no port ${port}`);
  const before = millisecondsIn(one.lifecycle?.preStop.exec.command.join(" ") ?? "");
  if (spec.terminationGracePeriodSeconds * 1_000 <= before + graceMs)
    complaints.push("it is killed before it has closed");
  return complaints;
}

/** A worker: what it is told of its own grace. */
function theirs(one: Container, spec: Pod): string[] {
  const told = Number(one.env.find(({ name }) => name === "SHUTDOWN_MS")?.value ?? Number.NaN);
  const isLong = spec.terminationGracePeriodSeconds * 1_000 >= told + 10_000;
  return isLong ? [] : ["it is killed before it has handed its runs back"];
}

function secretComplaints(one: Container, { secrets }: ClusterFacts): string[] {
  return one.env.flatMap(({ name, value, valueFrom }) => {
    if (/KEY|PASS|DATABASE$|REDIS$/.test(name) && value !== undefined) return [`${name} stands in the open`];
    if (valueFrom === undefined) return [];
    const { secretKeyRef: asked } = valueFrom;
    const isMade = secrets.get(asked.name)?.has(asked.key) === true;
    return isMade ? [] : [`no document makes the key ${asked.key} of the Secret ${asked.name}`];
  });
}

function deploymentsWith(wanted: Readonly<Record<string, string>>, all: readonly Manifest[]) {
  return all.flatMap((one) =>
    one.kind === "Deployment" && includes(one.spec.template.metadata.labels, wanted) ? [one] : [],
  );
}

function includes(has: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => has[name] === value);
}

/** The longest wait in a command of JavaScript. */
function millisecondsIn(command: string): number {
  return Math.max(0, ...[...command.matchAll(/\b[\d_]+\b/g)].map(([text]) => Number(text.replaceAll("_", ""))));
}
