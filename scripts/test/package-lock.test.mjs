import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const { packages } = JSON.parse(readFileSync(new URL("../../package-lock.json", import.meta.url), "utf8"));

it("the lock file lists every optional dependency, also those of other platforms: npm ci refuses it otherwise", () => {
  const missing = Object.entries(packages).flatMap(([place, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !packages[`node_modules/${name}`] && !packages[`${place}/node_modules/${name}`],
    ),
  );
  expect(missing).toEqual([]);
});

it("the lock file names no registry", () => {
  const resolved = Object.values(packages).filter((entry) => entry.resolved && !entry.link);
  expect(resolved).toEqual([]);
});
