import { strategies } from "@hsap/bench";
import { describe, expect, it, test } from "vitest";
import { hsap } from "./captured-run.ts";

const profile = new URL("../../simulator/hardware/local.yaml", import.meta.url).pathname;

describe("hsap calibrate --check", () => {
  it("runs and predicts every strategy, and sums up errors and order", async () => {
    const { exitCode, out } = await hsap(
      `calibrate --check --hardware ${profile} --pack single --pass forward --repeats 1 --ranks 2 --json`,
    );
    expect(exitCode).toBe(0);
    const { origin, rows, errors, order, ranks } = JSON.parse(out);
    expect(origin).toBe("measured, simulated");
    expect(ranks).toBe(2);
    expect(rows.map(({ strategy }: { strategy: string }) => strategy)).toEqual(strategies.map(({ name }) => name));
    for (const { measuredMs, predictedMs } of rows) expect(Math.min(measuredMs, predictedMs)).toBeGreaterThan(0);
    expect(errors.worst).toBeGreaterThanOrEqual(errors.median);
    expect(order.pairs).toBeGreaterThanOrEqual(order.right);
  });
});

describe("hsap calibrate refuses", () => {
  test.each([
    ["an option of a check without one", "calibrate --pack code", /invalid pack: code \(only --check takes it\)/],
    ["a pack that it does not have", `calibrate --check --hardware ${profile} --pack cod`, /unknown pack: cod/],
    [
      "to write a profile that it is given",
      `calibrate --check --hardware ${profile} --out x.yaml`,
      /conflicting options/,
    ],
    ["a file that is none", "calibrate --check --hardware nowhere.yaml", /unreadable hardware file: nowhere.yaml/],
    ["a type that cannot travel", "calibrate --dtype fp64", /dtype: fp64/],
    ["a profile without a prediction", `compare --docs 40 --hardware ${profile}`, /only --predict simulates/],
  ])("%s", async (_, line, message) => {
    const { exitCode, err } = await hsap(line);
    expect(exitCode).toBe(2);
    expect(err).toMatch(message);
  });
});

describe("hsap simulate --hardware", () => {
  it("predicts threads of one machine from a profile, and a core for each rank if a kernel is named", async () => {
    const line = `simulate --strategy ring --ranks 4 --docs 900,300 --hardware ${profile} --json`;
    const [shared, own] = await Promise.all([hsap(line), hsap(`${line} --kernel engine`)]);
    const [threads, cores] = [shared, own].map(({ out }) => JSON.parse(out).reports[0]);
    expect(threads.kernel).toBe("threads");
    expect(cores.kernel).toBe("engine");
    expect(threads.stepMs).toBeGreaterThan(cores.stepMs);
  });
});
