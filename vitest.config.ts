import { availableParallelism } from "node:os";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

const conditions = ["@aikirun/source", "node"];
/** Each of these files runs several processes at a time and waits for them, so no other file runs beside it. */
const processTests = ["tests/end-to-end/**/*.test.ts"];
const folders = ["packages/*/src", "dashboard/src", "tests", "scripts"];
const tests = folders.map((folder) => `${folder}/**/*.test.ts`);

function project(test: TestProjectInlineConfiguration["test"]): TestProjectInlineConfiguration {
  return {
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: { globalSetup: "tests/real/run.ts", testTimeout: 60_000, ...test },
  };
}

export default defineConfig({
  test: {
    projects: [
      project({
        name: "parallel",
        include: tests,
        exclude: processTests,
        maxWorkers: Math.max(2, availableParallelism() - 1),
        sequence: { groupOrder: 0 },
      }),
      project({ name: "serial", include: processTests, maxWorkers: 1, sequence: { groupOrder: 1 } }),
    ],
  },
});
