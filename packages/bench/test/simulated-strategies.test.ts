import { type Cluster, clusterOf, presetCluster } from "@hsap/cluster";
import { accountOf, type Pass, type Problem, type Schedule } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { strategies } from "../src/index.ts";

const batch = packedBatch([900, 17, 3000, 128, 1, 2050, 64, 1000, 500, 532]);
const shape = { heads: 16, kvHeads: 8, headDim: 128, dtype: "bf16" } as const;

function problemOn(cluster: Cluster, pass: Pass): Problem {
  return { batch, shape, cluster, mask: "causal", pass };
}

/** Two nodes of four H100, or with other links. */
function cluster({ faster = 1 } = {}): Cluster {
  const from = clusterOf({ ranks: 8, ranksPerNode: 4, from: presetCluster("h100-400g") });
  const levels = from.levels.map((level) => ({ ...level, bandwidthGBps: level.bandwidthGBps * faster }));
  return { ...from, levels };
}

function compiled(pass: Pass): Schedule[] {
  return strategies.flatMap((strategy) => {
    const problem = problemOn(cluster(), pass);
    return strategy.candidateDegrees(problem).map((degrees) => strategy.compile(problem, degrees));
  });
}

const onOther = (schedule: Schedule, other: Cluster): Schedule => ({
  ...schedule,
  problem: { ...schedule.problem, cluster: other },
});

describe.each(["forward", "backward"] as const)("every strategy's simulated %s pass", (pass) => {
  const schedules = compiled(pass);

  it("is of many schedules", () => {
    expect(new Set(schedules.map(({ strategy }) => strategy)).size).toBe(strategies.length - 1);
  });

  it("is never below the floors of computation and bandwidth, on no link above its bandwidth", () => {
    for (const schedule of schedules) {
      const { trace, floors, highestLinkUse } = simulate(schedule);
      const floor = Math.max(floors.computationUs, floors.bandwidthUs, floors.problemUs);
      expect(trace.durationUs, schedule.strategy).toBeGreaterThanOrEqual(floor * (1 - 1e-9));
      expect(highestLinkUse, schedule.strategy).toBeLessThanOrEqual(1 + 1e-9);
    }
  });

  it("divides each rank's step into computing, exposed communication and waiting", () => {
    for (const schedule of schedules) {
      const { trace, perRank } = simulate(schedule);
      for (const { computingUs, exposedCommunicationUs, waitingUs } of perRank) {
        const sum = computingUs + exposedCommunicationUs + waitingUs;
        expect(sum / trace.durationUs, schedule.strategy).toBeCloseTo(1, 9);
      }
    }
  });

  it("carries the bytes that the schedule counts, but for what collectives send once instead of many times", () => {
    for (const schedule of schedules) {
      const counted = accountOf(schedule).bytesByLevel;
      const ideal = simulate(schedule, { library: "native-group-cast" }).carriedBytesByLevel;
      // That library has its own group-casts only, so whatever else goes pair by pair at full rate.
      if (schedule.strategy === "allgather" || schedule.strategy === "colai-sp") {
        expect(ideal[1], schedule.strategy).toBeLessThanOrEqual(counted[1] * (1 + 1e-9));
      } else {
        expect(ideal[0] / counted[0] || 1, schedule.strategy).toBeCloseTo(1, 9);
        expect(ideal[1] / counted[1] || 1, schedule.strategy).toBeCloseTo(1, 9);
      }
    }
  });

  it("is at most 1 % slower with twice the bandwidth", () => {
    for (const schedule of schedules) {
      const slow = simulate(schedule).trace.durationUs;
      const fast = simulate(onOther(schedule, cluster({ faster: 2 }))).trace.durationUs;
      expect(fast, schedule.strategy).toBeLessThanOrEqual(1.01 * slow);
    }
  });

  it("is the same each time", () => {
    const [schedule] = schedules.slice(-1);
    expect(simulate(schedule).trace.endUs).toEqual(simulate(schedule).trace.endUs);
  });
});
