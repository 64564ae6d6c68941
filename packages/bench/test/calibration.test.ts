import { presetCluster } from "@hsap/cluster";
import { hardwareOf, publishedRows } from "@hsap/simulator";
import { lengthsOf, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { fittedValues, linearise } from "../src/calibration/fit.ts";
import { constantIn, fittedConstants, withConstants } from "../src/calibration/fitted-constants.ts";
import { predictRow, prepareRow } from "../src/calibration/predicted-rows.ts";
import { publishedPacks, typicalPacks } from "../src/calibration/published-packs.ts";
import { publishedSystems } from "../src/calibration/published-systems.ts";
import { calibrationReport, orderedShare } from "../src/index.ts";

const hardware = hardwareOf(presetCluster("h100-400g"));
const onOneNode = publishedRows().filter(({ ranks }) => ranks === 8);
const oneDocument = onOneNode.filter(({ mask }) => mask === "causal");

describe("calibration", () => {
  it("predicts one document on one node within 10 % for every system and pass, and in the published order", () => {
    const { rows, errors } = calibrationReport({
      packs: { small: 1, large: 1 },
      seed: 1,
      crossValidate: false,
      published: oneDocument,
    });
    expect(rows).toHaveLength(16);
    for (const { row, error } of rows) expect(Math.abs(error), `${row.system} ${row.pass}`).toBeLessThan(0.1);
    expect(errors.median).toBeLessThan(0.05);
    const { right, pairs } = orderedShare(rows);
    expect(right / pairs).toBeGreaterThanOrEqual(0.95);
  });

  it("predicts packs on one node within 20 %, with the same constants", () => {
    const packed = onOneNode.filter(({ mask }) => mask === "packed-causal");
    const { rows, errors } = calibrationReport({
      packs: { small: 3, large: 1 },
      seed: 1,
      crossValidate: false,
      published: packed,
    });
    for (const { row, error } of rows) expect(Math.abs(error), `${row.system} ${row.pass}`).toBeLessThan(0.2);
    expect(errors.median).toBeLessThan(0.08);
  });

  it("knows a strategy, a kernel and a library for every published system", () => {
    for (const { system } of publishedRows()) {
      const { kernel, library } = publishedSystems[system];
      expect(Object.keys(hardware.kernels)).toContain(kernel);
      expect(Object.keys(hardware.libraries)).toContain(library);
    }
  });

  it("moves a constant towards what the rows ask for, but not where they say nothing of it", () => {
    const rows = oneDocument
      .filter(({ system }) => system === "ulysses")
      .map((row) => prepareRow(row, { packs: 1, seed: 1 }));
    const moved = ["shareOfPeak", "accumulatePasses"].map((name) => {
      const found = fittedConstants.find(({ path }) => path.includes(name) && path.includes("forward"));
      if (found === undefined) throw new Error(name);
      return { ...found, prior: constantIn(hardware, found) };
    });
    const [rate] = moved;
    const slow = withConstants(hardware, [rate], [0.5 * rate.prior]);
    const values = fittedValues(linearise(rows, slow, moved), () => true);
    expect(values[0]).toBeGreaterThan(0.7 * rate.prior);
    expect(values[1]).toBeCloseTo(moved[1].prior, 6);
    expect(predictRow(rows[1], slow).error).toBeLessThan(-0.3);
  });
});

describe("published packs", () => {
  it("are full, and hold no piece longer than a quarter", () => {
    for (const batch of publishedPacks(65536, 20, 3)) {
      expect(tokensOf(batch)).toBe(65536);
      expect(Math.max(...lengthsOf(batch))).toBeLessThanOrEqual(16384);
    }
  });

  it("are typical by their area: from the small to the large", () => {
    const areas = typicalPacks(65536, 4, 3).map((batch) =>
      lengthsOf(batch).reduce((sum, length) => sum + length ** 2, 0),
    );
    expect([...areas].sort((a, b) => a - b)).toEqual(areas);
    expect(areas[3]).toBeGreaterThan(1.5 * areas[0]);
  });
});
