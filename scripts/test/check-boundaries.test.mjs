import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { boundaryViolations } from "../check-boundaries.mjs";
import { nativeOrders, nativeViolations } from "../checks/native-boundaries.mjs";

describe("the boundary check", () => {
  let root;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "hsap-boundaries-"));
    addPackage("workload", { "index.ts": "export const a = 1;", "inner.ts": "export const b = 2;" });
    addPackage("cluster", { "index.ts": "export const c = 3;" }, { "@hsap/workload": "0.1.0" });
    addPackage(
      "schedule",
      { "index.ts": 'import { a } from "@hsap/workload";\nexport const d = a;' },
      { "@hsap/workload": "0.1.0" },
    );
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("accepts imports of declared packages to the left", async () => {
    expect(await boundaryViolations(root)).toEqual([]);
  });

  it("rejects an import to the right", async () => {
    addFile("workload", "src/bad.ts", 'import { c } from "@hsap/cluster";\nexport const x = c;');
    await expectViolation("packages/workload/src/bad.ts", "packages import only what stands left of them");
  });

  it("rejects an import of a type to the right", async () => {
    addFile("workload", "src/bad.ts", 'import type { C } from "@hsap/cluster";\nexport type X = C;');
    await expectViolation("packages/workload/src/bad.ts", "packages import only what stands left of them");
  });

  it("rejects a test that imports to the right", async () => {
    addFile("cluster", "test/bad.test.ts", 'import { d } from "@hsap/schedule";\nexport const x = d;');
    await expectViolation("packages/cluster/test/bad.test.ts", "packages import only what stands left of them");
  });

  it("rejects a relative import into another package", async () => {
    addFile("schedule", "src/bad.ts", 'import { a } from "../../workload/src/index.ts";\nexport const x = a;');
    await expectViolation(
      "packages/schedule/src/bad.ts",
      "another package is imported by its name, not by a file inside it",
    );
  });

  it("rejects a relative import of a file that another package does not export", async () => {
    addFile("schedule", "src/bad.ts", 'import { b } from "../../workload/src/inner.ts";\nexport const x = b;');
    await expectViolation(
      "packages/schedule/src/bad.ts",
      "another package is imported by its name, not by a file inside it",
    );
  });

  it("rejects a package to the left that the package.json does not declare", async () => {
    addFile("schedule", "src/bad.ts", 'import { c } from "@hsap/cluster";\nexport const x = c;');
    await expectViolation("packages/schedule/src/bad.ts", "the package.json does not declare it");
  });

  it("accepts a package that only tests may import in a test, and rejects it elsewhere", async () => {
    const manifest = { name: "@hsap/schedule", type: "module", devDependencies: { "@hsap/cluster": "0.1.0" } };
    writeFileSync(
      path.join(root, "packages/schedule/package.json"),
      JSON.stringify({ ...manifest, dependencies: { "@hsap/workload": "0.1.0" } }),
    );
    addFile("schedule", "test/good.test.ts", 'import { c } from "@hsap/cluster";\nexport const x = c;');
    expect(await boundaryViolations(root)).toEqual([]);
    addFile("schedule", "src/bad.ts", 'import { c } from "@hsap/cluster";\nexport const x = c;');
    await expectViolation("packages/schedule/src/bad.ts", "the package.json does not declare it");
  });

  it("rejects an npm package that the package.json does not declare", async () => {
    mkdirSync(path.join(root, "node_modules/leftpad"), { recursive: true });
    writeFileSync(
      path.join(root, "node_modules/leftpad/package.json"),
      '{"name":"leftpad","version":"1.0.0","main":"i.js"}',
    );
    writeFileSync(path.join(root, "node_modules/leftpad/i.js"), "module.exports = 1;");
    addFile("schedule", "src/bad.ts", 'import pad from "leftpad";\nexport const x = pad;');
    await expectViolation("packages/schedule/src/bad.ts", "the package.json does not declare it");
  });

  it("rejects an import of a module that is not there", async () => {
    addFile("schedule", "src/bad.ts", 'import { c } from "./gone.ts";\nexport const x = c;');
    await expectViolation("packages/schedule/src/bad.ts", "there is no such module");
  });

  it("refuses a package that has no place in the order", async () => {
    addPackage("extra", { "index.ts": "export {};" });
    await expect(boundaryViolations(root)).rejects.toThrow("package without a place in the order: extra");
  });

  async function expectViolation(file, reason) {
    const violations = await boundaryViolations(root);
    expect(violations).not.toEqual([]);
    for (const line of violations) expect(line).toContain(file);
    expect(violations.some((line) => line.endsWith(reason))).toBe(true);
  }

  function addPackage(name, sources, dependencies = {}) {
    const entry = { "@hsap/source": "./src/index.ts", default: "./dist/index.js" };
    const manifest = { name: `@hsap/${name}`, version: "0.1.0", type: "module", exports: { ".": entry }, dependencies };
    addFile(name, "package.json", JSON.stringify(manifest));
    for (const [file, text] of Object.entries(sources)) addFile(name, `src/${file}`, text);
    mkdirSync(path.join(root, "node_modules/@hsap"), { recursive: true });
    symlinkSync(`../../packages/${name}`, path.join(root, "node_modules/@hsap", name));
  }

  function addFile(name, file, text) {
    const full = path.join(root, "packages", name, file);
    mkdirSync(path.dirname(full), { recursive: true });
    writeFileSync(full, text);
  }
});

describe("the native library", () => {
  let root;
  const add = (file, text) => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  };
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "hsap-native-"));
    add("native/src/kernels/products/panels.h", "");
    add("native/src/kernels/tiles/forward.h", '#include "products/panels.h"\n');
    add("native/src/layer/factors.h", '#include "kernels/products/panels.h"\n#include "hsap/layer.h"\n');
    add("native/src/executor/threads/team.h", "");
    add("native/src/executor/lanes/lane.h", '#include "threads/team.h"\n#include "lanes/plan.h"\n');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("may include parts and rooms that stand before", async () => {
    expect(await nativeViolations(root)).toEqual([]);
  });

  it("may not include a part that stands after, or a room of the kernels or the executor", async () => {
    add("native/src/kernels/bad.h", '#include "layer/factors.h"\n');
    add("native/src/kernels/products/bad.h", '#include "tiles/forward.h"\n');
    add("native/src/executor/threads/bad.cpp", '#include "lanes/lane.h"\n');
    expect(await nativeViolations(root)).toEqual([
      "native/src/executor/threads/bad.cpp includes lanes/lane.h: parts of native/src/executor include only those before them",
      "native/src/kernels/bad.h includes layer/factors.h: parts of native/src include only those before them",
      "native/src/kernels/products/bad.h includes tiles/forward.h: parts of native/src/kernels include only those before them",
    ]);
  });

  it("has no part or room without a place in the order", () => {
    const project = path.join(import.meta.dirname, "../..");
    for (const [folder, order] of Object.entries(nativeOrders)) {
      const found = readdirSync(path.join(project, folder), { withFileTypes: true }).filter((entry) =>
        entry.isDirectory(),
      );
      expect(found.map(({ name }) => name).sort()).toEqual([...order].sort());
    }
  });
});
