/** What is deployed is sound, and each thing that would make it unsound is told. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { aikiCommands } from "./commands.ts";
import { composeComplaints } from "./compose.ts";
import { stageComplaints } from "./contents.ts";
import { readDockerfile } from "./dockerfile.ts";
import { documentComplaints, secretsIn } from "./documents.ts";
import { ignoreOf } from "./ignore.ts";
import { kubernetesComplaints } from "./kubernetes.ts";

const commands = aikiCommands();
const graceMs = 15_000;

/** The text with one thing replaced, which must be there. */
function changed(text: string, [from, to]: readonly [string, string]): string {
  if (!text.includes(from)) throw new Error(`There is no ${from} to replace.`);
  return text.replace(from, to);
}

describe("docker-compose.yml", () => {
  const text = readFileSync("docker-compose.yml", "utf8");

  it("is sound", () => {
    expect(composeComplaints(text, commands, graceMs)).toEqual([]);
  });

  const violations: Array<[what: string, change: [string, string], told: RegExp]> = [
    ["a variable that no command reads", ["AIKI_DATABASE:", "AIKI_DATABSE:"], /knows of no AIKI_DATABSE/],
    ["a command that is none", ["[migrate]", "[migrat]"], /no command "aiki migrat"/],
    ["a flag that is none", ["[migrate]", "[migrate, --all]"], /aiki migrate takes no --all/],
    [
      "a secret in the open",
      ["POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?", "POSTGRES_PASSWORD: secret # {"],
      /POSTGRES_PASSWORD has a secret/,
    ],
    [
      "a secret with a default",
      ["aiki:${POSTGRES_PASSWORD:?", "aiki:${POSTGRES_PASSWORD:-"],
      /AIKI_DATABASE has a secret/,
    ],
    ["an image without a version", ["postgres:17", "postgres"], /the image postgres has no version/],
    [
      "a wait for what says nothing",
      ["migrate: { condition", "migrat: { condition"],
      /depends on migrat, which is no service/,
    ],
    ["a grace that is too short", ["stop_grace_period: 30s", "stop_grace_period: 5s"], /killed before it has closed/],
    ["a file system that may be written", ["read_only: true\n", "\n"], /could write/],
    ["a port for everyone", ["127.0.0.1:9090-9099:9090", "9090:9090"], /on this machine alone/],
    ["a misspelled key", ["healthcheck:", "healthchek:"], /healthchek/],
  ];

  it.each(violations)("is told apart from one with %s", (_, change, told) => {
    expect(composeComplaints(changed(text, change), commands, graceMs).join("\n")).toMatch(told);
  });
});

describe("the Kubernetes manifests", () => {
  const names = ["server", "migrate", "worker", "network-policy"].map((name) => `deploy/kubernetes/${name}.yaml`);
  const files = new Map(names.map((path) => [path, readFileSync(path, "utf8")]));
  const secrets = new Map([
    ["aiki", new Set(["database", "redis"])],
    ["orders-worker", new Set(["api-key"])],
  ]);
  const facts = { commands, graceMs, port: 9090, secrets };

  it("are sound", () => {
    expect(kubernetesComplaints(files, facts)).toEqual([]);
  });

  const violations: Array<[what: string, file: string, change: [string, string], told: RegExp]> = [
    ["a misspelled field", "server", ["readinessProbe:", "readynessProbe:"], /readynessProbe/],
    [
      "a probe that asks elsewhere",
      "server",
      ["path: /health/ready", "path: /health/live"],
      /readinessProbe does not ask for \/health\/ready/,
    ],
    [
      "a probe at a port that is none",
      "server",
      ["port: http\n            periodSeconds: 5", "port: htp\n            periodSeconds: 5"],
      /readinessProbe/,
    ],
    [
      "a variable that no command reads",
      "server",
      ["name: AIKI_DATABASE_CONNECTIONS", "name: AIKI_CONNECTIONS"],
      /knows of no AIKI_CONNECTIONS/,
    ],
    [
      "a password in the open",
      "migrate",
      [
        "valueFrom:\n                secretKeyRef:\n                  name: aiki\n                  key: database",
        "value: postgres://aiki:secret@db/aiki",
      ],
      /AIKI_DATABASE stands in the open/,
    ],
    [
      "a Secret's key that nobody makes",
      "server",
      ["key: database", "key: databse"],
      /no document makes the key databse/,
    ],
    [
      "a grace that is too short",
      "server",
      ["terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 10"],
      /killed before it has closed/,
    ],
    [
      "a worker's grace that is too short",
      "worker",
      ["terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 30"],
      /handed its runs back/,
    ],
    ["root", "server", ["runAsNonRoot: true", "runAsNonRoot: false"], /runAsNonRoot/],
    [
      "a file system that may be written",
      "server",
      ["readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"],
      /readOnlyRootFilesystem/,
    ],
    [
      "no requests",
      "server",
      ["            requests:\n              cpu: 250m\n              memory: 256Mi\n", ""],
      /requests/,
    ],
    ["the latest image", "server", ["image: aiki:0.1.0", "image: aiki:latest"], /names a version/],
    ["one server only", "server", ["replicas: 2", "replicas: 1"], /replicas/],
    ["a service without pods", "server", ["targetPort: http", "targetPort: web"], /no pod has a port web/],
    ["a budget that forbids every move", "server", ["minAvailable: 1", "minAvailable: 2"], /no pod may ever be moved/],
    [
      "a policy for nobody",
      "network-policy",
      ["app.kubernetes.io/name: aiki", "app.kubernetes.io/name: aki"],
      /applies to no pod/,
    ],
    [
      "the links of services",
      "server",
      ["enableServiceLinks: false", "enableServiceLinks: true"],
      /enableServiceLinks/,
    ],
  ];

  it.each(violations)("are told apart from ones with %s", (_, name, change, told) => {
    const path = `deploy/kubernetes/${name}.yaml`;
    const wrong = new Map(files).set(path, changed(files.get(path) ?? "", change));
    expect(kubernetesComplaints(wrong, facts).join("\n")).toMatch(told);
  });
});

describe("the Dockerfile", () => {
  const text = readFileSync("Dockerfile", "utf8");

  it("is sound", () => {
    expect(stageComplaints(readDockerfile(text))).toEqual([]);
  });

  const violations: Array<[what: string, change: [string, string], told: RegExp]> = [
    ["root", ["USER 1000:1000", "USER root"], /by number which user/],
    [
      "a shell between the signal and Node",
      ['["node", "packages/cli/bin/aiki.js"]', "node packages/cli/bin/aiki.js"],
      /ENTRYPOINT is not in exec form/,
    ],
    ["no health check", ["HEALTHCHECK", "LABEL"], /no HEALTHCHECK/],
    ["another image below the build", ["-slim\nENV", "-alpine\nENV"], /built from/],
  ];

  it.each(violations)("is told apart from one with %s", (_, change, told) => {
    expect(stageComplaints(readDockerfile(changed(text, change))).join("\n")).toMatch(told);
  });
});

describe("the documents", () => {
  it("are told apart from ones that name a variable which no command reads", () => {
    const documents = new Map([["a.md", "Set AIKI_DATABSE."]]);
    expect(documentComplaints(documents, new Set())).toEqual(["a.md: no command reads AIKI_DATABSE"]);
  });

  it("are told apart from ones that keep a variable to themselves", () => {
    expect(documentComplaints(new Map(), new Set(["AIKI_URL"]))).toEqual([
      "AIKI_URL is read by a command, and no document says so",
    ]);
  });

  it("say which keys a Secret gets", () => {
    const text =
      "kubectl create secret generic aiki \
  --from-literal=database=p://… --from-literal=redis=r://…";
    expect(secretsIn(text)).toEqual(new Map([["aiki", new Set(["database", "redis"])]]));
  });
});

describe("what a build sees", () => {
  const isIgnored = ignoreOf("*\n!packages\n**/dist\npackages/*/test\n**/*.test.ts");

  it.each([
    ["README.md", true],
    ["packages/cli/src/main.ts", false],
    ["packages/cli/dist/main.js", true],
    ["packages/cli/test/rig.ts", true],
    ["packages/cli/src/main.test.ts", true],
    ["packages/cli/src/latest.ts", false],
  ])("of %s: ignored is %s", (path, expected) => {
    expect(isIgnored(path)).toBe(expected);
  });
});
