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

  it("replays computation that was measured here, and says so", async () => {
    const { code, out } = await hsap(
      "simulate",
      "--strategy",
      "ring",
      "--ranks",
      "4",
      "--tokens",
      "512",
      "--replay",
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(out).origin).toBe("replayed");
    expect(JSON.parse(out).reports[0].stepMs).toBeGreaterThan(0);
  });
});
