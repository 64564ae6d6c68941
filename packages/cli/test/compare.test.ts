import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { strategies } from "@hsap/bench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-compare-"));
});

afterAll(() => rmSync(folder, { recursive: true }));

const problem = "--docs 40,24,9,55 --ranks 4 --ranks-per-node 2 --heads 4 --kv-heads 2";

/** What the command prints as JSON. */
async function report(line: string) {
  const { exitCode, out, err } = await hsap(`compare --json ${line}`);
  return { exitCode, err, ...JSON.parse(out) };
}

describe("hsap compare", () => {
  test("lists every strategy with its counts, or why it refuses", async () => {
    const { exitCode, err, strategies: rows, refused, tooLarge, ...rest } = await report(problem);
    expect([exitCode, err]).toEqual([0, ""]);
    const seen = [...rows, ...refused, ...tooLarge].map(({ strategy }: { strategy: string }) => strategy);
    expect(new Set(seen)).toEqual(new Set(strategies.map(({ name }) => name)));
    expect(rest.problem).toMatchObject({
      documents: 4,
      tokens: 128,
      ranks: 4,
      nodes: 2,
      ranksPerNode: 2,
      pass: "forward",
    });
    expect(rest.levels).toEqual(["node", "machine"]);
    const ring = rows.find(({ strategy }: { strategy: string }) => strategy === "ring");
    // (P-1)/P of all keys and values: 2 * 128 tokens * 2 heads * 64 * 4 bytes.
    expect(ring.receivedBytes.mean).toBe((3 / 4) * 2 * 128 * 2 * 64 * 4);
    expect(ring.ratio.receivedToBound).toBeCloseTo(ring.receivedBytes.mean / rest.bounds.receivedBytesMean, 12);
    for (const { verdict, measured, ratio } of rows) {
      expect([verdict, measured, ratio.timeToBest]).toEqual(["ok", undefined, undefined]);
    }
  });

  test("shows a person a table, its bounds, what refuses and the verdict", async () => {
    const { exitCode, out } = await hsap(`compare ${problem}`);
    expect(exitCode).toBe(0);
    const rows = out.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    expect(rows).toHaveLength(strategies.length - 1);
    expect(out).toMatch(/# origin: counted\n/);
    expect(out).toMatch(/# refused by reference: invalid ranks: 4 \(reference runs on 1 rank\)/);
    expect(out).toMatch(/# bounds: received [\d.]+ MB a rank, between nodes [\d.]+ MB in all/);
    expect(out).toMatch(/verdict: ok\n$/);
    expect(out).not.toMatch(/critical|contaminated|padding/);
  });

  test("measures with --measure, checks the outputs, and gives ratios to the best and to the bound", async () => {
    const { exitCode, err, strategies: rows, bounds } = await report(`${problem} --measure --repeats 1`);
    expect(exitCode).toBe(0);
    expect(err).toMatch(/100 % \|/);
    expect(rows[0].ratio.timeToBest).toBe(1);
    expect(bounds.computeFloorMs).toBeGreaterThan(0);
    for (const { ratio, measured, verdict } of rows) {
      expect(verdict).toBe("ok");
      expect(measured).toMatchObject({ repeats: 1, errors: { o: expect.any(Number), lse: expect.any(Number) } });
      expect(ratio.timeToBest).toBeGreaterThanOrEqual(1);
      expect(ratio.timeToBound).toBeCloseTo(measured.criticalPathMs / bounds.computeFloorMs, 9);
    }
  });

  test("predicts with --predict, in columns of their own", async () => {
    const { exitCode, out } = await hsap(`compare ${problem} --cluster h100-400g --dtype bf16 --predict`);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/# origin: predicted simulated, all else counted\n/);
    expect(out).toMatch(/predicted +\/best +\/floor/);
    expect(out).toMatch(/# sorted by predicted time; verdict: ok\n$/);
  });

  test("shows with --faithful what published systems contaminate and pad, and ends with 1", async () => {
    const { exitCode, out, err } = await hsap(`compare ${problem} --faithful`);
    expect(exitCode).toBe(1);
    expect(err).toMatch(
      /^hsap: 3 of \d+ strategies are wrong \([a-z]+ .*: \d+\.\d % of its pairs are contaminated\)\n$/,
    );
    expect(out).toMatch(/ring ignoreBorders=true fp32Gradients=true .* WRONG: \d+\.\d % of its pairs are contaminated/);
    // Documents of 40, 24, 9 and 55 tokens, to multiples of 8.
    expect(out).toMatch(/zigzag-per-document pad=true .* 8 +0 +ok/);
  });

  test("leaves out a schedule too large to be made, and says how to have it", async () => {
    const { exitCode, out, err } = await hsap(
      "compare --strategy striped --option stripe=1 --docs 3000 --ranks 4 --head-dim 64",
    );
    expect(out).toMatch(/# left out striped: about 23 million operands \(more than 2 million\); --all includes it/);
    expect([exitCode, err]).toEqual([1, "hsap: 0 of 0 strategies are wrong (every one is left out)\n"]);
  });

  test.each(["svg", "png"])("draws the comparison as .%s", async (ending) => {
    const file = join(folder, `comparison.${ending}`);
    const { exitCode, err } = await hsap(`compare ${problem} --figure ${file}`);
    expect([exitCode, err]).toEqual([0, `drew ${file}\n`]);
    const drawn = readFileSync(file);
    if (ending === "png") expect(drawn.subarray(1, 4).toString()).toBe("PNG");
    else expect(drawn.toString()).toMatch(/^<svg .*4 documents of 128 tokens together, 4 ranks in 2 nodes/s);
  });

  test.each([
    ["--figure comparison.pdf", "invalid figure: comparison.pdf (must end in .svg or .png)"],
    ["--repeats 3", "invalid repeats: 3 (only --measure repeats)"],
    ["--out page.md", "invalid out: page.md (only --packs writes a page)"],
    ["--pass both", "invalid pass: both (a comparison is of one pass: forward or backward)"],
    ["--degrees ring=4", "invalid degrees: ring=4 (name their --strategy)"],
    ["--option stripe=1", "invalid option: stripe=1 (name its --strategy)"],
    ["--packs", "conflicting options: --packs and --docs (the packs' problem is fixed)"],
    [
      "--measure --cluster h100-400g",
      "invalid cluster: h100-400g (times are measured on this machine; use --ranks and --ranks-per-node)",
    ],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`compare ${problem} ${options}`);
    expect([exitCode, out, err]).toEqual([2, "", `hsap: ${message}\n`]);
  });
});

describe("hsap compare --packs", () => {
  test("writes a page that begins with the command that makes it, with hsap beside each strategy", async () => {
    const file = join(folder, "page.md");
    const { exitCode, out } = await hsap(`compare --packs --pack hybrid-8 --strategy ring --out ${file}`);
    expect([exitCode, out]).toEqual([0, `${file}\n`]);
    const page = readFileSync(file, "utf8");
    expect(page).toMatch(
      /^<!-- Generated by `npx hsap compare --packs --pack hybrid-8 --strategy ring`\. Do not edit\. -->\n/,
    );
    // 7/8 of all keys and values: 2 * 65536 tokens * 8 heads * 128 * 2 bytes.
    expect(page).toMatch(/\| hybrid-8 \| \d+ \| [\d.]+ \| 224 \| [\d.]+ \|/);
    expect(page).toMatch(/\| `ring` \| 1 \| [\d.]+ \([\d.]+ to [\d.]+\) \|/);
  });

  test("prints the counts as JSON instead", async () => {
    const { exitCode, out } = await hsap("compare --packs --pack hybrid-8 --strategy ring --json");
    expect(exitCode).toBe(0);
    const [pack, ...others] = JSON.parse(out);
    expect(others).toEqual([]);
    expect(pack).toMatchObject({ pack: "hybrid-8", ranks: 8, refused: [], tooLarge: [] });
    expect(new Set(pack.strategies.map(({ strategy }: { strategy: string }) => strategy))).toEqual(
      new Set(["hsap", "ring"]),
    );
  });

  test("refuses an unknown pack in one line", async () => {
    const { exitCode, err } = await hsap("compare --packs --pack nothing-8");
    expect(exitCode).toBe(2);
    expect(err).toMatch(/unknown pack: nothing-8 \(known: code-16/);
  });
});

describe("docs/comparison.md", () => {
  test("is made by the command in its first line, and has all packs and strategies", () => {
    const page = readFileSync(new URL("../../../docs/comparison.md", import.meta.url), "utf8");
    expect(page).toMatch(/^<!-- Generated by `npx hsap compare --packs`\. Do not edit\. -->\n/);
    for (const { name } of strategies) expect(page).toContain(name);
    expect(page.match(/^\| \w+-(8|16|32|64) \|/gm)?.length).toBe(24 + 18 + 24);
  });
});
