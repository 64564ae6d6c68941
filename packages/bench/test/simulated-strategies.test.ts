import { type Cluster, clusterOf, presetCluster } from "@hsap/cluster";
import {
  accountOf,
  dataWaitsOf,
  groupKinds,
  isCommunication,
  opKinds,
  type Pass,
  type Problem,
  type Schedule,
} from "@hsap/schedule";
import { laneWaitsOf, simulate } from "@hsap/simulator";
import { InputError, packedBatch } from "@hsap/workload";
import fc from "fast-check";
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

describe("any strategy on any pack", () => {
  const anyCase = fc.record({
    strategy: fc.constantFrom(...strategies),
    degrees: fc.nat(),
    lengths: fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 6 }),
    ranks: fc.integer({ min: 1, max: 8 }),
    ranksPerNode: fc.constantFrom(2, 4),
    pass: fc.constantFrom("forward" as const, "backward" as const),
  });

  /** The case's schedule on H100, or undefined where the strategy refuses the problem. */
  function scheduleOf({ strategy, degrees, lengths, ranks, ranksPerNode, pass }: Case): Schedule | undefined {
    const from = clusterOf({ ranks, ranksPerNode, from: presetCluster("h100-400g") });
    const problem: Problem = { batch: packedBatch(lengths), shape, cluster: from, mask: "causal", pass };
    try {
      const candidates = strategy.candidateDegrees(problem);
      if (candidates.length === 0) return undefined;
      return strategy.compile(problem, candidates[degrees % candidates.length]);
    } catch (error) {
      if (error instanceof InputError) return undefined;
      throw error;
    }
  }
  type Case = typeof anyCase extends fc.Arbitrary<infer T> ? T : never;

  it("delivers what is sent, on no link above its bandwidth, and in no less than the floors", () => {
    let simulated = 0;
    fc.assert(
      fc.property(anyCase, (given) => {
        const schedule = scheduleOf(given);
        if (schedule === undefined) return;
        simulated++;
        const { trace, perRank, floors, highestLinkUse, carriedBytesByLevel } = simulate(schedule);
        const floor = Math.max(floors.computationUs, floors.bandwidthUs, floors.problemUs);
        expect(trace.durationUs).toBeGreaterThanOrEqual(floor * (1 - 1e-9));
        expect(highestLinkUse).toBeLessThanOrEqual(1 + 1e-9);
        for (const { computingUs, exposedCommunicationUs, waitingUs } of perRank)
          expect((computingUs + exposedCommunicationUs + waitingUs) / trace.durationUs).toBeCloseTo(1, 9);
        for (let row = 0; row < trace.endUs.length; row++) {
          expect(trace.endUs[row]).toBeGreaterThanOrEqual(trace.beginUs[row]);
          expect(trace.endUs[row]).toBeLessThanOrEqual(trace.durationUs * (1 + 1e-9));
        }
        const counted = accountOf(schedule).bytesByLevel;
        const { kind, attribute } = schedule.ops;
        const kinds = new Set(
          Array.from(kind, (op, row) => (isCommunication(opKinds[op]) ? groupKinds[attribute[row]] : "p2p")),
        );
        if ([...kinds].every((group) => group === "p2p" || group === "allToAll")) {
          for (const [level, bytes] of counted.entries()) expect(carriedBytesByLevel[level]).toBeCloseTo(bytes, 3);
          return;
        }
        // Other collectives send between nodes once what several ranks of a node need.
        const betweenNodes = (bytes: readonly number[]) => bytes.slice(1).reduce((sum, value) => sum + value, 0);
        expect(betweenNodes(carriedBytesByLevel)).toBeLessThanOrEqual(betweenNodes(counted) * (1 + 1e-9));
      }),
      { numRuns: 60 },
    );
    expect(simulated).toBeGreaterThan(20);
  });

  it("is at most 1 % slower with more bandwidth at any one level", () => {
    const anyFaster = fc.record({ level: fc.nat(1), factor: fc.double({ min: 1, max: 8, noNaN: true }) });
    fc.assert(
      fc.property(anyCase, anyFaster, (given, { level, factor }) => {
        const schedule = scheduleOf(given);
        if (schedule === undefined) return;
        const { cluster: from } = schedule.problem;
        const levels = from.levels.map((own, i) =>
          i === level ? { ...own, bandwidthGBps: own.bandwidthGBps * factor } : own,
        );
        const slow = simulate(schedule).trace.durationUs;
        expect(simulate(onOther(schedule, { ...from, levels })).trace.durationUs).toBeLessThanOrEqual(1.01 * slow);
      }),
      { numRuns: 60 },
    );
  });
});

describe("what an item waits for on the other lane", () => {
  it("is what lowering finds, for every strategy, degree and pass", () => {
    for (const pass of ["forward", "backward"] as const) {
      for (const schedule of compiled(pass)) {
        expect(laneWaitsOf(schedule), `${schedule.strategy} ${pass}`).toEqual(dataWaitsOf(schedule));
      }
    }
  });
});
