import { describe, expect, test } from "vitest";
import { summarise } from "../src/experiment/summary.ts";
import { exampleTrial } from "./trial-example.ts";

const trials = [0, 1, 2].flatMap((repeat) => [
  exampleTrial({ repeat }, { wallMs: 10 + repeat, criticalPathMs: 8 }),
  exampleTrial(
    { repeat, strategy: "hsap", degrees: { ulysses: 1, sap: 2 } },
    { wallMs: (10 + repeat) / 2, criticalPathMs: 2 },
  ),
]);

describe("the summary", () => {
  test("has medians and the ratio of paired runs with its interval", () => {
    const [ring, hsap] = summarise(trials, "ring");
    expect(ring).toMatchObject({ strategy: "ring", wallMs: 11, trials: 3, wrong: 0 });
    expect(ring.wallRatio).toBeUndefined();
    expect(hsap).toMatchObject({ variant: "hsap ulysses=1 sap=2", wallMs: 5.5 });
    expect(hsap.wallRatio).toEqual({ estimate: 0.5, low: 0.5, high: 0.5, samples: 3 });
    expect(hsap.criticalPathRatio?.estimate).toBe(0.25);
  });

  test("takes the busiest rank's time on both lanes", () => {
    const busy = exampleTrial({}, { cpuMs: { computation: [5, 6], communication: [4, 1] } });
    expect(summarise([busy], "ring")[0].busiestRankMs).toBe(9);
  });

  test("pairs only runs of one pack and one repeat", () => {
    const lonely = exampleTrial({ repeat: 9, strategy: "zigzag" });
    expect(summarise([...trials, lonely], "ring")[2].wallRatio).toBeUndefined();
  });

  test("counts trials with a broken rule, an error above the bound, one that is no number, or other bits", () => {
    const bad = [
      exampleTrial({ repeat: 3 }, { verified: false }),
      exampleTrial({ repeat: 4 }, { error: { o: 2e-6, lse: 0 } }),
      exampleTrial({ repeat: 5 }, { error: { o: Number.NaN } }),
      exampleTrial({ repeat: 6 }, { sameBits: false }),
    ];
    expect(summarise([...trials, ...bad], "ring")[0].wrong).toBe(4);
  });
});
