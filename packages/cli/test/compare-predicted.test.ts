import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hsap } from "./captured-run.ts";

it("predicts hsap beside the fastest other strategy on a pack, as a page", async () => {
  const page = join(mkdtempSync(join(tmpdir(), "hsap-predicted-")), "page.md");
  const { exitCode } = await hsap(`compare --packs --predict --pack code-8 --strategy ring --out ${page}`);
  expect(exitCode).toBe(0);
  const text = readFileSync(page, "utf8");
  expect(text).toContain("Everything here is simulated");
  expect(text).toMatch(/^\| code-8 \| 1\.07 \| .* \| ulysses=1,sap=8 \| `ring` ring=8 \| .* \|$/m);
  expect(text).toMatch(/^Of 2 packs and passes hsap is the fastest on 2;/m);
});

it("gives the predictions as JSON, also with other kv heads", async () => {
  const line = "compare --packs --predict --pack single-8 --strategy ulysses --pass backward --kv-heads 1 --json";
  const { out } = await hsap(line);
  const [row] = JSON.parse(out);
  expect(row).toMatchObject({ name: "single-8", pass: "backward", fastestOther: { strategy: "ulysses" } });
  expect(row.speedup).toBeCloseTo(row.fastestOther.stepMs / row.hsap.stepMs, 12);
  expect(row.hsap.stepMs).toBeGreaterThan(row.floorMs);
});

it("refuses options that would change the packs' problem", async () => {
  const { exitCode, err } = await hsap("compare --packs --predict --tokens 64");
  expect([exitCode, err]).toEqual([
    2,
    "hsap: conflicting options: --packs and --tokens (the packs' problem is fixed)\n",
  ]);
});
