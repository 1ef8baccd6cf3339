/**
 * Holds what is deployed against what is: docker-compose.yml, the Kubernetes manifests and the documents against the
 * CLI, the image's tree against what it may hold; then runs that tree as the image would. Needs no container engine.
 */

import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeGraceMs } from "../packages/server/src/http/listen.ts";
import { findBinaries } from "../tests/real/binaries.ts";
import { startCluster } from "../tests/real/cluster.ts";
import { freePort } from "../tests/real/machine.ts";
import { aikiCommands } from "./deploy/commands.ts";
import { composeComplaints } from "./deploy/compose.ts";
import { type Container, run, start } from "./deploy/container.ts";
import { healthOf, stageComplaints, treeComplaints } from "./deploy/contents.ts";
import { execForm, lastOf, readDockerfile, type Stage } from "./deploy/dockerfile.ts";
import { documentComplaints, secretsIn } from "./deploy/documents.ts";
import { ignoreOf } from "./deploy/ignore.ts";
import { type Built, buildImage } from "./deploy/image.ts";
import { kubernetesComplaints } from "./deploy/kubernetes.ts";

/** What a server may take to close: its requests, then the batch in flight, whose statements end after 10 s. */
const graceMs = closeGraceMs + 10_000;

const directory = mkdtempSync(join(tmpdir(), "aiki-deploy-"));
// As root, the server and PostgreSQL run as other users and have to get by.
chmodSync(directory, 0o755);
const complaints: string[] = [];
try {
  await check();
} finally {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
for (const complaint of complaints) console.log(complaint);
console.log(complaints.length === 0 ? "deploy: sound" : `deploy: ${complaints.length} complaints`);
process.exitCode = complaints.length === 0 ? 0 : 1;

async function check(): Promise<void> {
  const stages = readDockerfile(readFileSync("Dockerfile", "utf8"));
  const last = stages.at(-1);
  if (last === undefined) throw new Error("The Dockerfile has no stage.");
  const commands = aikiCommands();
  const documents = textsIn(["docs", ...readdirSync("packages").map((name) => `packages/${name}`)], ".md");
  const production = documents.get("docs/production.md") ?? "";
  complaints.push(
    ...documentComplaints(documents, commands.variables),
    ...composeComplaints(readFileSync("docker-compose.yml", "utf8"), commands, graceMs),
    ...kubernetesComplaints(textsIn(["deploy/kubernetes"], ".yaml"), {
      commands,
      graceMs,
      port: Number(lastOf(last, "EXPOSE")),
      secrets: secretsIn(production),
    }),
    ...stageComplaints(stages),
  );
  const isIgnored = ignoreOf(readFileSync(".dockerignore", "utf8"));
  const built = buildImage(stages, { context: process.cwd(), isIgnored, directory });
  const words = execForm(lastOf(last, "CMD")) ?? [];
  complaints.push(...treeComplaints(built), ...commands.complaints(words, [...built.env.keys()]));
  if (complaints.length === 0) await live(built, last);
}

/** Migrates a database, serves it, is healthy, and ends when it is told to. */
async function live(built: Built, stage: Stage): Promise<void> {
  const database = await openDatabase();
  const port = await freePort();
  const container: Container = {
    built,
    user: lastOf(stage, "USER") ?? "",
    entrypoint: execForm(lastOf(stage, "ENTRYPOINT")) ?? [],
    variables: { AIKI_DATABASE: database.url },
  };
  const health = healthOf(stage)?.map((word) => word.replace(lastOf(stage, "EXPOSE") ?? "", String(port))) ?? [];
  try {
    if (database.isShared) await expectEnd("migrate", start(container, ["migrate"]).ended, 0);
    const server = start(container, [...(execForm(lastOf(stage, "CMD")) ?? []), "--port", String(port)]);
    await server.says('"msg":"listening"');
    await expectEnd("the health check of a server that is up", run(container, health).ended, 0);
    const before = performance.now();
    server.stop("SIGTERM");
    await expectEnd("a server that was told to stop", server.ended, 0);
    const tookMs = performance.now() - before;
    if (tookMs > closeGraceMs) complaints.push(`the server took ${Math.round(tookMs)} ms to stop:\n${server.said()}`);
    await expectEnd("the health check of a server that is gone", run(container, health).ended, 1);
  } finally {
    await database.close();
  }
}

async function expectEnd(what: string, ended: Promise<number | string>, expected: number): Promise<void> {
  const code = await ended;
  if (code !== expected) complaints.push(`${what} ended with ${code}, not ${expected}`);
}

/** PostgreSQL where there is one; else memory, said loudly. */
async function openDatabase(): Promise<{ url: string; isShared: boolean; close(): Promise<void> }> {
  const place = join(directory, "postgres");
  const binaries = await findBinaries(place);
  if (binaries === null) {
    console.error("\nSKIPPED: there is no PostgreSQL to run the image with; it keeps its runs in memory.\n");
    return { url: "memory:", isShared: false, close: async () => {} };
  }
  const cluster = await startCluster(binaries, place, process.pid);
  return { url: cluster.url, isShared: true, close: () => cluster.control("-m", "immediate", "stop") };
}

function textsIn(folders: readonly string[], extension: string): Map<string, string> {
  const paths = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  const files = paths.filter((path) => path.endsWith(extension) && existsSync(path));
  return new Map(files.map((path) => [path, readFileSync(path, "utf8")]));
}
