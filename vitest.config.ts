import { readdirSync } from "node:fs";
import { defineConfig } from "vitest/config";

const setupFiles = [new URL("./scripts/checks/property-cases.mjs", import.meta.url).pathname];

// Workspace imports resolve to TypeScript sources, so tests never run against a stale build.
const source = {
  resolve: { conditions: ["@hsap/source"] },
  ssr: { resolve: { conditions: ["@hsap/source", "node", "import", "default"] } },
};

const packages = readdirSync(new URL("./packages", import.meta.url)).map((name) => ({
  ...source,
  test: {
    name: `@hsap/${name}`,
    root: new URL(`./packages/${name}`, import.meta.url).pathname,
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    setupFiles,
  },
}));

const scripts = {
  test: {
    name: "scripts",
    root: new URL("./scripts", import.meta.url).pathname,
    include: ["test/**/*.test.mjs"],
    testTimeout: 60_000,
    setupFiles,
  },
};

export default defineConfig({ test: { maxWorkers: 2, projects: [...packages, scripts] } });
