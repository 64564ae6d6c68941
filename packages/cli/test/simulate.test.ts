import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { main } from "../src/main.ts";

async function hsap(...args: string[]) {
  let [out, err] = ["", ""];
  const output = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    terminal: false,
  };
  return { code: await main(args, output), out, err };
}

const onH100 = [
  "--cluster",
  "h100-400g",
  "--ranks",
  "16",
  "--tokens",
  "32768",
  "--heads",
  "16",
  "--kv-heads",
  "8",
  "--head-dim",
  "128",
];

describe("hsap simulate", () => {
  it("prints what it predicts of every strategy, and says that it is simulated", async () => {
    const { code, out } = await hsap("simulate", ...onH100);
    expect(code).toBe(0);
    expect(out).toMatch(/^# simulated; cluster h100-400g\n/);
    for (const name of ["ulysses", "ring", "hsap"]) expect(out).toContain(`\n  ${name} `);
    expect(out).toContain("# refused: reference, forward: ");
  });

  it("prints the promised keys as JSON, with floors below the step", async () => {
    const { out } = await hsap("simulate", ...onH100, "--strategy", "hsap", "--pass", "both", "--json");
    const { origin, reports } = JSON.parse(out);
    expect(origin).toBe("simulated");
    expect(reports).toHaveLength(2);
    for (const report of reports) {
      expect(report.stepMs).toBeGreaterThan(Math.max(...(Object.values(report.floorsMs) as number[])));
      expect(report.tflopsPerDevice).toBeGreaterThan(0);
      expect(report.exposedCommunicationMs).toBeGreaterThanOrEqual(0);
      expect(report.balance.time).toBeGreaterThanOrEqual(1);
      expect(report.bytesByLevel.map(({ level }: { level: string }) => level)).toEqual(["nvlink", "network"]);
      expect(report.perRank).toHaveLength(16);
    }
  });

  it("tries every point of a sweep", async () => {
    const { out } = await hsap(
      "simulate",
      "--strategy",
      "ring",
      "--sweep",
      "ranks=2,4",
      "--sweep",
      "tokens-per-rank=512",
      "--json",
    );
    expect(JSON.parse(out).reports.map(({ ranks }: { ranks: number }) => ranks)).toEqual([2, 4]);
  });

  it("refuses a sweep that it does not know, in one line", async () => {
    const { code, err } = await hsap("simulate", "--sweep", "speed=1,2");
    expect(code).toBe(2);
    expect(err).toBe(
      "hsap: invalid sweep: speed=1,2 (must be like ranks=8,16; knows ranks, mix, tokens-per-rank, degrees)\n",
    );
  });

  it("writes a trace that says it is simulated in every rank's name, with an arrow for each message", async () => {
    const file = join(mkdtempSync(join(tmpdir(), "hsap-")), "trace.json");
    const { code } = await hsap("simulate", ...onH100, "--strategy", "ring", "--trace", file);
    expect(code).toBe(0);
    const { traceEvents, otherData } = JSON.parse(readFileSync(file, "utf8"));
    expect(otherData.title).toContain("(simulated)");
    const count = (ph: string) => traceEvents.filter((event: { ph: string }) => event.ph === ph).length;
    // 16 ranks pass 15 pieces on.
    expect(count("s")).toBe(16 * 15);
    expect(count("f")).toBe(16 * 15);
    const processes = traceEvents.filter(({ name }: { name: string }) => name === "process_name");
    expect(processes).toHaveLength(16);
    expect(processes[3].args.name).toBe("rank 3 (simulated)");
  });

  it("refuses a trace of several schedules", async () => {
    const { code, err } = await hsap("simulate", "--trace", "trace.json");
    expect(code).toBe(2);
    expect(err).toContain("a trace is of one schedule");
  });

  it("replays computation that was measured here, and says so in what it prints and traces", async () => {
    const file = join(mkdtempSync(join(tmpdir(), "hsap-")), "trace.json");
    const problem = [
      "--strategy",
      "ring",
      "--ranks",
      "4",
      "--docs",
      "300,212",
      "--cluster",
      "h100-400g",
      "--dtype",
      "fp32",
    ];
    const { code, out } = await hsap("simulate", ...problem, "--replay", "--trace", file, "--json");
    expect(code).toBe(0);
    const { origin, reports } = JSON.parse(out);
    expect(origin).toBe("replayed");
    expect(reports[0].origin).toBe("replayed");
    // The links are the cluster's: three steps of a ring take at least three times its latency.
    expect(reports[0].stepMs).toBeGreaterThan(0.003);
    const { traceEvents, otherData } = JSON.parse(readFileSync(file, "utf8"));
    expect(otherData).toMatchObject({ origin: "replayed", title: "ring, forward, h100-400g (replayed)" });
    const tiles = traceEvents.filter(({ name }: { name: string }) => name === "attend");
    // What a rank computes takes as long as it was measured to: the floor is the busiest rank's sum.
    const busy = tiles.reduce((sums: Map<number, number>, { pid, dur }: { pid: number; dur: number }) => {
      return sums.set(pid, (sums.get(pid) ?? 0) + dur);
    }, new Map<number, number>());
    const busiest = Math.max(...(busy.values() as Iterable<number>));
    const stretch = busiest / 1e3 / reports[0].floorsMs.computation;
    expect(stretch).toBeGreaterThan(1 - 1e-6);
    // Computation goes a little slower while the cluster's links are busy.
    expect(stretch).toBeLessThan(1.1);
  });
});
