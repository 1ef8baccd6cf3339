/** What docker-compose.yml must say. */

import { parse } from "yaml";
import { z } from "zod";
import type { Commands } from "./commands.ts";
import { sentences } from "./sentences.ts";

const seconds = z
  .string()
  .regex(/^\d+(s|m)$/)
  .transform((text) => Number.parseInt(text, 10) * (text.endsWith("m") ? 60 : 1));

const healthcheck = z.strictObject({
  test: z.tuple([z.literal("CMD")], z.string()),
  interval: seconds,
  timeout: seconds,
  retries: z.int(),
});

const member = z.strictObject({
  image: z.string(),
  build: z.string().optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()),
  ports: z.array(z.string().regex(/^127\.0\.0\.1:[\d-]+:\d+$/, "is published on this machine alone")).optional(),
  volumes: z.array(z.string()).optional(),
  healthcheck: healthcheck.optional(),
  depends_on: z
    .record(
      z.string(),
      z.strictObject({ condition: z.enum(["service_healthy", "service_completed_successfully", "service_started"]) }),
    )
    .default({}),
  deploy: z.strictObject({ replicas: z.int() }).optional(),
  restart: z.string(),
  stop_grace_period: seconds.optional(),
  read_only: z.literal(true).optional(),
  cap_drop: z.tuple([z.literal("ALL")]).optional(),
  security_opt: z.array(z.string()).optional(),
});

type Member = z.infer<typeof member>;

const file = z.looseObject({
  name: z.string(),
  services: z.record(z.string(), member),
  volumes: z.record(z.string(), z.null()),
});

/** `graceMs`: what a server takes to close. */
export function composeComplaints(text: string, commands: Commands, graceMs: number): string[] {
  const parsed = file.safeParse(parse(text, { merge: true }));
  if (!parsed.success) return sentences(parsed.error);
  const { services } = parsed.data;
  return Object.entries(services).flatMap(([name, one]) =>
    [
      ...ordered(one, services),
      ...secret(one),
      ...(one.build === undefined ? versioned(one) : ours(one, commands, graceMs)),
    ].map((complaint) => `service ${name}: ${complaint}`),
  );
}

/** What waits for another to be healthy needs one that says when it is. */
function ordered(one: Member, services: Readonly<Record<string, Member>>): string[] {
  return Object.entries(one.depends_on).flatMap(([name, { condition }]) => {
    const other = services[name];
    if (other === undefined) return [`depends on ${name}, which is no service`];
    const isSilent = condition === "service_healthy" && other.healthcheck === undefined && other.build === undefined;
    return isSilent ? [`waits until ${name} is healthy, which ${name} never says`] : [];
  });
}

/** Passwords come from outside, and their absence is said. */
function secret({ environment, command = [] }: Member): string[] {
  const texts = [...Object.entries(environment), ...command.map((word, at) => [command[at - 1] ?? "", word] as const)];
  return texts
    .filter(([name, value]) => /pass|auth/i.test(name) || /:\/\/[^@]*:[^@]*@/.test(value))
    .filter(([, value]) => !/\$\{\w+:\?[^}]+\}/.test(value))
    .map(([name]) => `${name} has a secret in it, or a default`);
}

function versioned({ image }: Member): string[] {
  return /:\d/.test(image) ? [] : [`the image ${image} has no version`];
}

function ours(one: Member, commands: Commands, graceMs: number): string[] {
  const { command = ["server"], environment, stop_grace_period: grace } = one;
  const isServer = command[0] === "server";
  const hard = one.read_only && one.cap_drop && one.security_opt?.includes("no-new-privileges:true");
  return [
    ...commands.complaints(command, Object.keys(environment)),
    ...(hard ? [] : ["it could write, or gain privileges"]),
    ...(isServer && (grace ?? 10) * 1_000 <= graceMs ? ["it is killed before it has closed"] : []),
  ];
}
