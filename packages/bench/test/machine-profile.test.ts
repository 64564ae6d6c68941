import { ring } from "@hsap/baselines";
import { hsap } from "@hsap/compiler";
import { type OpTermKind, opTerms, parseHardware } from "@hsap/simulator";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { measureTerms } from "../src/calibration/measured-terms.ts";
import { fitErrors, nonnegativeFit } from "../src/calibration/nonnegative-fit.ts";
import { elementSamples } from "../src/calibration/op-samples.ts";
import { sliceSample, turnsIn } from "../src/calibration/slice-sample.ts";
import { pingPong, transferSamples } from "../src/calibration/transfer-samples.ts";
import {
  checkAgainstReality,
  checkedPacksNamed,
  errorsOfCheck,
  type MachineProfile,
  orderOfCheck,
  profileFileOf,
  threadMachineOf,
} from "../src/index.ts";

describe("a fit of term times", () => {
  it("finds the times that the observations were made with", () => {
    const times = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(times, (wanted) => {
        fc.pre(wanted.some((time) => time > 0));
        const rows = [
          [1, 0, 0],
          [0, 1, 0],
          [0, 0, 1],
          [1, 2, 3],
          [5, 1, 2],
        ];
        const observations = rows
          .map((terms) => ({ terms, us: terms.reduce((sum, term, i) => sum + term * wanted[i], 0) }))
          .filter(({ us }) => us > 0);
        for (const error of fitErrors(observations, nonnegativeFit(observations))) expect(error).toBeCloseTo(0, 4);
      }),
    );
  });

  it("keeps what fits exactly, where the typical error is 0", () => {
    const observations = [
      { terms: [1, 0, 0], us: 1 },
      { terms: [1, 2, 3], us: 1 },
      { terms: [5, 1, 2], us: 5 },
    ];
    for (const error of fitErrors(observations, nonnegativeFit(observations))) expect(error).toBeCloseTo(0, 4);
  });

  it("gives no term a time below 0", () => {
    const observations = [
      { terms: [1, 1], us: 1 },
      { terms: [1, 2], us: 0.5 },
    ];
    for (const time of nonnegativeFit(observations)) expect(time).toBeGreaterThanOrEqual(0);
  });

  it("is not bent by one disturbed observation among many", () => {
    const observations = Array.from({ length: 20 }, (_, i) => ({ terms: [i + 1], us: (i + 1) * (i === 7 ? 30 : 2) }));
    expect(nonnegativeFit(observations)[0]).toBeCloseTo(2, 1);
  });
});

describe("samples", () => {
  it("run here, and give every term of their kinds a time and an error", async () => {
    const samples = [
      ...elementSamples({ cores: 1, dtype: "fp32" }).filter(({ label }) => label.includes(" 64 x 2 x 64")),
      ...transferSamples({ cores: 1, dtype: "fp32" }).slice(0, 1),
    ];
    const registers = { tileRows: 4, vectorKeys: 4 };
    const measured = await measureTerms(samples, { repeats: 1, registers });
    expect(Object.keys(measured).sort()).toEqual(["copy", "empty", "group", "merge", "reduce"]);
    for (const [kind, { ns, samples: own }] of Object.entries(measured)) {
      expect(Object.keys(ns)).toEqual(opTerms[kind as OpTermKind]);
      for (const { us } of own) expect(us).toBeGreaterThan(0);
    }
  });

  it("of a ping-pong hand each message over once, to and fro", () => {
    const { schedule } = pingPong({ cores: 2, dtype: "fp32" }, 6);
    const { kind, peer } = schedule.ops;
    expect([...kind.subarray(0, schedule.opBegin[1])].filter((code) => code === 0)).toHaveLength(3);
    expect(new Set(peer.subarray(schedule.opBegin[1]))).toEqual(new Set([0]));
  });

  it("of turns are told apart by the time in which another thread ran", () => {
    const schedule = sliceSample(1);
    const ops = schedule.ops.kind.length;
    const beginUs = Float64Array.from({ length: ops }, (_, op) => 10 * op + (op >= 100 ? 5000 : 0));
    const endUs = beginUs.map((begin) => begin + 10);
    const trace = {
      origin: "measured" as const,
      beginUs,
      endUs,
      busyUs: new Float64Array(ops).fill(10),
      durationUs: 0,
    };
    expect(turnsIn(schedule, trace)).toEqual([1010]);
  });
});

const kinds = Object.fromEntries(
  Object.entries(opTerms).map(([kind, terms]) => [
    kind,
    {
      ns: Object.fromEntries(terms.map((term, i) => [term, 0.5 + i])),
      ...{ medianError: 0.03, worstError: 0.2, spread: 0.05, samples: [] },
    },
  ]),
) as unknown as NonNullable<MachineProfile["terms"]["fp32"]>;
const profile: MachineProfile = {
  ...{ device: 'a "quoted" processor', isa: "avx2", cores: 3, wakeUs: 21.5, sliceUs: 1300, spread: 0.05 },
  registers: { tileRows: 6, vectorKeys: 8 },
  terms: { fp32: kinds },
};

describe("a profile", () => {
  it("is read back from its file as what predictions are made with", () => {
    const read = parseHardware(profileFileOf(profile), "machine.yaml");
    expect(read.threads).toEqual(threadMachineOf(profile));
    expect(read.devices).toContain(profile.device);
    expect(Object.keys(read.kernels)).toEqual(["engine"]);
  });

  it("says in its first line if something else ran while it was measured", () => {
    expect(profileFileOf(profile)).not.toContain("something else ran");
    expect(profileFileOf({ ...profile, spread: 0.3 }).split("\n")[0]).toContain("something else ran");
  });
});

describe("a check against reality", () => {
  it("runs and predicts every strategy that it is given", async () => {
    const { rows, errors, order } = await checkAgainstReality({
      machine: threadMachineOf(profile),
      ...{ packs: ["instruct"], passes: ["forward", "backward"], strategies: [ring, hsap], repeats: 1, ranks: 2 },
    });
    expect(rows.map(({ pass, strategy }) => `${pass} ${strategy}`)).toEqual([
      ...["forward ring", "forward hsap", "backward ring", "backward hsap"],
    ]);
    for (const { measuredMs, predictedMs, error } of rows) {
      expect(Math.min(measuredMs, predictedMs)).toBeGreaterThan(0);
      expect(error).toBeCloseTo(predictedMs / measuredMs - 1, 9);
    }
    expect(errors.worst).toBeGreaterThanOrEqual(errors.median);
    expect(order.right).toBeLessThanOrEqual(order.pairs);
  });

  it("counts only pairs on one pack and pass that are more than 10 % apart", () => {
    const row = (pack: "code" | "single", measuredMs: number, predictedMs: number) => ({
      ...{ pack, pass: "forward" as const, measuredMs, predictedMs },
    });
    const rows = [row("code", 100, 90), row("code", 105, 80), row("code", 200, 85), row("single", 500, 1)];
    // 100 and 200 are predicted in the wrong order, 105 and 200 in the right one.
    expect(orderOfCheck(rows)).toEqual({ right: 1, pairs: 2 });
    expect(errorsOfCheck([{ error: -0.3 }, { error: 0.1 }, { error: 0 }])).toEqual({ median: 0.1, worst: 0.3 });
  });

  it("knows its packs by name", () => {
    expect(checkedPacksNamed("code,single")).toEqual(["code", "single"]);
    expect(() => checkedPacksNamed("cod")).toThrow(/unknown pack: cod \(known: hybrid, .*\)/);
  });
});
