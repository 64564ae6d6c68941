import { appendFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
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

it("goes on where it stopped, and predicts again what other code had predicted", async () => {
  const page = join(mkdtempSync(join(tmpdir(), "hsap-predicted-")), "page.md");
  const rows = page.replace(/\.md$/, ".rows.jsonl");
  const command = `compare --packs --predict --pack code-8 --strategy ring --out ${page}`;
  await hsap(`${command} --pass forward`);
  const [forward] = readFileSync(rows, "utf8").trim().split("\n");
  // A mark that no prediction would have shows that the row is taken from the file.
  writeFileSync(rows, `${JSON.stringify({ ...JSON.parse(forward), floorMs: 4.25 })}\n`);
  // What a killed run left unfinished is no row.
  appendFileSync(rows, forward.slice(0, 40));
  const resumed = await hsap(command);
  expect(resumed.err).toContain("1 predictions are known from");
  expect(readFileSync(page, "utf8")).toMatch(/^\| code-8 \| 4\.25 \|/m);
  const stale = readFileSync(rows, "utf8").replaceAll(/"code":"[^"]*"/g, '"code":"of another build"');
  writeFileSync(rows, stale);
  const again = await hsap(command);
  expect(again.err).toContain("2 predictions of other code are dropped");
  expect(readFileSync(page, "utf8")).toMatch(/^\| code-8 \| 1\.07 \|/m);
  expect(readFileSync(rows, "utf8")).not.toContain("of another build");
});

it("writes several numbers of kv heads as one page, with what is asked of each", async () => {
  const page = join(mkdtempSync(join(tmpdir(), "hsap-predicted-")), "page.md");
  await hsap(`compare --packs --predict --pack code-8 --pass forward --strategy ulysses --kv-heads 1,32 --out ${page}`);
  const text = readFileSync(page, "utf8");
  expect(text).toContain("# Predicted times on the project's packs with 1 and 32 kv heads");
  expect(text).toMatch(
    /^\| never below any other strategy, 32 kv heads \| speedup 1 \| 1 of 1; lowest [\d.]+ \| yes \|$/m,
  );
});

it("simulates a strategy beside the best published system of each setting", async () => {
  const rows = join(mkdtempSync(join(tmpdir(), "hsap-published-")), "rows.csv");
  writeFileSync(
    rows,
    "device,mask,pass,ranks,system,tflops_per_device\nh100,causal,forward,8,usp,300\nh100,causal,forward,8,ulysses,500\n",
  );
  const { out } = await hsap(`simulate --calibration --strategy hsap --rows ${rows} --kernel flash-attention-3 --json`);
  const { settings } = JSON.parse(out);
  expect(settings).toMatchObject([{ mask: "causal", ranks: 8, best: { system: "ulysses", tflopsPerDevice: 500 } }]);
  const [{ kernel, tflopsPerDevice, ratio }] = settings[0].simulated;
  expect(kernel).toBe("flash-attention-3");
  expect(ratio).toBeCloseTo(tflopsPerDevice / 500, 12);
});

it("gives the predictions as JSON, also with other kv heads", async () => {
  const page = join(mkdtempSync(join(tmpdir(), "hsap-predicted-")), "page.md");
  const line = "compare --packs --predict --pack single-8 --strategy ulysses --pass backward --kv-heads 1 --json";
  const { out } = await hsap(`${line} --out ${page}`);
  const [row] = JSON.parse(out);
  expect(row).toMatchObject({ name: "single-8", pass: "backward", kvHeads: 1, others: [{ strategy: "ulysses" }] });
  expect(row.others[0].stepMs).toBeGreaterThan(row.floorMs);
  expect(row.hsap.stepMs).toBeGreaterThan(row.floorMs);
});

it("refuses options that would change the packs' problem", async () => {
  const { exitCode, err } = await hsap("compare --packs --predict --tokens 64");
  expect([exitCode, err]).toEqual([
    2,
    "hsap: conflicting options: --packs and --tokens (the packs' problem is fixed)\n",
  ]);
});
