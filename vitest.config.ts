import { defineConfig } from "vitest/config";

const conditions = ["@aikirun/source", "node"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts", "scripts/**/*.test.ts"],
    globalSetup: "tests/real/run.ts",
    testTimeout: 60_000,
  },
});
