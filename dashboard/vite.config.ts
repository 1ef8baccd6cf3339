import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type UserConfig } from "vite";

const config: UserConfig = defineConfig({
  root: import.meta.dirname,
  // Relative, so that the files work below any base path.
  base: "./",
  plugins: [react(), tailwindcss()],
  resolve: { conditions: ["@aikirun/source", "module", "browser", "production"] },
  build: {
    outDir: "../packages/server/dist/dashboard",
    emptyOutDir: true,
    // The server's content security policy forbids data urls for scripts, and inline modules.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    reportCompressedSize: false,
  },
});

export default config;
