import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { workspacePath } from "@hsap/bench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CapturedRun, hsap } from "./captured-run.ts";

let folder: string;
let run: CapturedRun;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hsap-cli-experiment-"));
  run = await hsap(`experiment --profile smoke --docs 60,7,1,33 --repeats 2 --results ${folder}`);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true }));

describe("hsap experiment", () => {
  test("prints a table for each pass, with units, ratios, wrong trials and a verdict", () => {
    expect(run.exitCode).toBe(0);
    const lines = run.out.split("\n");
    expect(lines).toEqual(expect.arrayContaining(["# forward", "# backward"]));
    expect(run.out).toMatch(
      /^# mix +strategy +wall +rank cpu +critical .* wall\/ring +critical\/ring +error +#wrong$/m,
    );
    expect(run.out).toMatch(/^# +\(ms\) +\(ms\) +\(ms\)/m);
    expect(run.out).toMatch(/^ {2}docs +hsap ulysses=4 sap=2 .* \d\.\d\d \[\d+\.\d\d, \d+\.\d\d\] .* 0$/m);
    expect(lines.filter((line) => line !== "").at(-1)).toMatch(/^# \d+ trials .*verdict: ok$/);
  });

  test("says what is measured and that ranks share cores, or that they need not", () => {
    expect(run.out).toContain("origin measured");
    expect(run.out).toMatch(/ranks share \d+ cores here|can have a core of its own/);
  });

  test("shows progress on standard error, with the time left", () => {
    expect(run.err).toMatch(/^ *\d+ % \| \d+:\d\d left \| \d+\/\d+ docs forward/m);
  });

  test("draws the five figures beside the trials", () => {
    const drawn = readdirSync(join(folder, "figures")).filter((file) => file.endsWith(".svg"));
    expect(drawn.map((file) => file.slice(0, "figure-1".length))).toEqual([1, 2, 3, 4, 5].map((n) => `figure-${n}`));
    expect(existsSync(join(folder, "figures", "figure-5-evaluation.png"))).toBe(true);
  });

  test("measures nothing twice, and says the same in JSON", async () => {
    const again = await hsap(
      `experiment --profile smoke --docs 60,7,1,33 --repeats 2 --results ${folder} --json --no-figures`,
    );
    const report = JSON.parse(again.out);
    expect(report.measuredNow).toBe(0);
    expect(report.summary.length).toBe(report.trials / 2);
    expect(report.summary.every(({ wrong }: { wrong: number }) => wrong === 0)).toBe(true);
    expect(again.err).toMatch(/^resumed: \d+ of \d+ trials are already there$/m);
  });
});

describe("hsap figures", () => {
  test("draws again from what is there", async () => {
    const out = join(folder, "elsewhere");
    const { exitCode, out: files } = await hsap(`figures --results ${folder} --out ${out} --json`);
    expect(exitCode).toBe(0);
    expect(JSON.parse(files).files).toEqual(expect.arrayContaining([join(out, "figure-2-pipeline.svg")]));
  });
});

describe("hsap verify", () => {
  test("prints a row for each strategy and degree, and a verdict", async () => {
    const { exitCode, out } = await hsap("verify --docs 30,7,1 --ranks 4 --heads 4");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^ {2}hsap +4 +ulysses=2,sap=2 +1( +\d\.\de-\d+){5} +0 {2}ok$/m);
    expect(out).toMatch(/^# refused by reference: 1 cases on 4 ranks, such as: invalid ranks: 4/m);
    expect(out).toMatch(/^# verdict: ok$/m);
  });

  test("fails loudly where nothing could be verified", async () => {
    const { exitCode, out, err } = await hsap("verify --docs 30 --ranks 4 --strategy reference");
    expect(exitCode).toBe(1);
    expect(out).toMatch(/^# verdict: WRONG/m);
    expect(err).toMatch(/^hsap: verification failed: 0 of 0 rows are wrong \(every strategy refused\)$/m);
  });

  test("runs a stored schedule of either pass against float64", async () => {
    for (const pass of ["forward", "backward"]) {
      const file = join(folder, `${pass}.schedule`);
      await hsap(`compile --docs 30,7,1 --ranks 3 --pass ${pass} --out ${file}`);
      const { exitCode, out } = await hsap(`verify --schedule ${file} --json`);
      expect(exitCode).toBe(0);
      expect(JSON.parse(out)).toMatchObject({ strategy: "hsap", verified: true, wrong: [] });
    }
  });
});

describe("hsap figures of steps by length", () => {
  test("are one figure, with the rates that are published beside the experiment", async () => {
    const out = mkdtempSync(join(tmpdir(), "hsap-cli-lengths-"));
    try {
      const reference = workspacePath("results/reference/lengths");
      const { exitCode, out: files } = await hsap(`figures --results ${reference} --out ${out} --json`);
      expect(exitCode).toBe(0);
      expect(JSON.parse(files).files.map((file: string) => basename(file))).toContain("figure-9-lengths.svg");
      expect(readFileSync(join(out, "figure-9-lengths.svg"), "utf8")).toContain("Dashed: published.");
    } finally {
      rmSync(out, { recursive: true });
    }
  });
});

describe("hsap experiment models", () => {
  const small = "experiment models --profile smoke --ranks 8 --mix single --strategy ulysses";

  test("predicts whole training steps, says so, and draws their figure beside the trials", async () => {
    const own = mkdtempSync(join(tmpdir(), "hsap-cli-models-"));
    try {
      const { exitCode, out, err } = await hsap(`${small} --results ${own}`);
      expect(exitCode).toBe(0);
      expect(out).toContain("origin simulated");
      expect(out).toMatch(
        /^# cluster +model +ranks +mix +tokens +strategy .* MFU .* weights +gradients .* total +result$/m,
      );
      expect(out).toMatch(/^ {2}h100-400g +13b +8 +single +65536 +ulysses .* [\d.]+ +fits$/m);
      expect(err).toContain("figure-6-models-h100-400g.svg");
      const again = JSON.parse((await hsap(`${small} --results ${own} --no-figures --json`)).out);
      expect(again).toMatchObject({ origin: "simulated", predictedNow: 0 });
      expect(again.steps.map(({ model }: { model: string }) => model)).toEqual(["7b", "13b"]);
    } finally {
      rmSync(own, { recursive: true });
    }
  });

  test.each([
    ["options of a measured run", "--heads 8", "invalid option: heads (models predicts whole models"],
    ["a launcher", "--launcher mpirun", "invalid option: launcher (models predicts whole models"],
    ["a device of unknown memory", "--cluster local", "unknown memory: "],
  ])("refuses %s", async (_, options, message) => {
    const { exitCode, err } = await hsap(`${small} ${options}`);
    expect([exitCode, err]).toEqual([2, expect.stringContaining(message)]);
  });
});

describe("hsap experiment longest", () => {
  const small = "experiment longest --profile smoke --ranks 4 --strategy hsap";

  test("looks for the longest steps, says where numbers come from, and draws their figure beside the trials", async () => {
    const own = mkdtempSync(join(tmpdir(), "hsap-cli-longest-"));
    try {
      const { exitCode, out, err } = await hsap(`${small} --results ${own}`);
      expect(exitCode).toBe(0);
      expect(out).toContain("origin counted");
      expect(out).toMatch(/^ {2}H100-SXM +80 +7b +4 +hsap +sharded +full +ulysses=\d+,sap=\d+ +\d+ /m);
      expect(err).toContain("figure-10-longest.svg");
      expect(err).toContain("h100-400g 7b 4 ranks: hsap, sharded, selective");
      const again = JSON.parse((await hsap(`${small} --results ${own} --no-figures --json`)).out);
      expect(again).toMatchObject({ origin: "counted", trials: 2, predictedNow: 0 });
      const [kept, recomputed] = again.steps;
      expect(recomputed.tokens).toBeGreaterThan(kept.tokens);
    } finally {
      rmSync(own, { recursive: true });
    }
  });

  test.each([
    ["options of a step", "--mix hybrid", "invalid option: mix (longest looks for the longest steps"],
    ["a device of unknown memory", "--cluster local", "unknown memory: "],
  ])("refuses %s", async (_, options, message) => {
    const { exitCode, err } = await hsap(`${small} ${options}`);
    expect([exitCode, err]).toEqual([2, expect.stringContaining(message)]);
  });
});
