import {
  accountOf,
  areaOf,
  dataWaitsOf,
  flopsOf,
  kvBytesOf,
  layoutOf,
  type Schedule,
  ScheduleBuilder,
} from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { simulate } from "../src/index.ts";
import { gatherSchedule, idealHardware, plainCluster, plainProblem, ringSchedule } from "./plain-hardware.ts";

const hardware = idealHardware();

/** Two ranks of one node: the second owns everything, hands k and v of its first document over, and computes nothing. */
function oneMessage(tokens: number): Schedule {
  const problem = plainProblem([tokens, tokens], plainCluster(2));
  const builder = new ScheduleBuilder(
    problem,
    "message",
    {},
    layoutOf([[{ begin: 0, end: tokens }], [{ begin: tokens, end: 2 * tokens }]]),
  );
  const blocks = ["k", "v"].map((name) => builder.block(name, { begin: tokens, end: 2 * tokens }));
  builder.rank(0).exchange("p2p", [{ from: 1, blocks }]);
  builder.rank(1).exchange("p2p", [{ to: 0, blocks }]);
  return builder.finish();
}

describe("simulate", () => {
  it("takes as long as the operations where nothing travels", () => {
    const problem = plainProblem([64, 100, 1], plainCluster(1));
    const { trace, perRank, floors } = simulate(ringSchedule(problem), { hardware });
    expect(trace.durationUs).toBeCloseTo(flopsOf(problem) / 1e6, 9);
    expect(perRank[0].computingUs).toBeCloseTo(trace.durationUs, 9);
    expect(floors.computationUs).toBeCloseTo(trace.durationUs, 9);
  });

  it("takes the latency and the bytes at the link's bandwidth for one message", () => {
    // 1000 tokens * 2 tensors * 2 heads * 64 * 2 bytes over 100 GB/s, and 2 us.
    const { trace, perRank } = simulate(oneMessage(1000), { hardware });
    expect(trace.durationUs).toBeCloseTo(2 + 512_000 / 100_000, 9);
    expect(perRank[0].exposedCommunicationUs).toBeCloseTo(trace.durationUs, 9);
  });

  it("lets one pair of ranks have only its share of a link", () => {
    const { trace } = simulate(oneMessage(1000), { hardware: idealHardware({}, { pairShare: [0.25, 1] }) });
    expect(trace.durationUs).toBeCloseTo(2 + 4 * (512_000 / 100_000), 9);
  });

  it("lets two ranks that send to each other have less than one that only sends", () => {
    const problem = plainProblem([2000, 2000], plainCluster(2));
    const travelUs = (mutual: number) => {
      const { perRank } = simulate(gatherSchedule(problem, "p2p"), {
        hardware: idealHardware({}, { mutualShare: [mutual, 1] }),
      });
      return perRank[0].communicatingUs - 2;
    };
    expect(travelUs(0.5)).toBeCloseTo(2 * travelUs(1), 9);
    const oneWay = (mutual: number) =>
      simulate(oneMessage(1000), { hardware: idealHardware({}, { mutualShare: [mutual, 1] }) }).trace.durationUs;
    expect(oneWay(0.5)).toBe(oneWay(1));
  });

  it("hides the messages of a ring behind its tiles where these take longer", () => {
    const problem = plainProblem([4096], plainCluster(4));
    const { trace, perRank } = simulate(ringSchedule(problem), { hardware });
    const account = accountOf(ringSchedule(problem));
    // The last rank computes the most, and never waits.
    expect(trace.durationUs).toBeCloseTo((account.area.max * 4 * 64) / 1e6, 6);
    expect(perRank[3].exposedCommunicationUs).toBeCloseTo(0, 6);
    expect(perRank[0].waitingUs).toBeGreaterThan(0.5 * trace.durationUs);
  });

  it("makes a rank wait for a partner that comes late", () => {
    const problem = plainProblem([512, 512], plainCluster(2));
    const builder = new ScheduleBuilder(
      problem,
      "late",
      {},
      layoutOf([[{ begin: 0, end: 512 }], [{ begin: 512, end: 1024 }]]),
    );
    const o = (part: number) => builder.block("o", { begin: 512, end: 1024 }, undefined, part);
    builder.rank(1).attend({ qBegin: 512, qEnd: 1024, kBegin: 512, kEnd: 1024, mask: "causal" });
    builder.rank(1).exchange("p2p", [{ to: 0, blocks: [o(0)] }]);
    builder.rank(0).exchange("p2p", [{ from: 1, blocks: [o(0)] }]);
    const { perRank } = simulate(builder.finish(), { hardware });
    const computingUs = (((512 * 513) / 2) * 4 * 4 * 64) / 1e6;
    expect(perRank[0].waitingUs).toBeCloseTo(computingUs, 6);
    expect(perRank[1].waitingUs).toBeCloseTo(0, 6);
  });

  it("starts no op before what it waits for has ended, and keeps the order of each lane", () => {
    const schedule = ringSchedule(plainProblem([700, 3, 1300], plainCluster(6, 2)));
    const waits = dataWaitsOf(schedule);
    const { trace } = simulate(schedule, {
      hardware: idealHardware({ launchUs: 3, tileRows: 16 }, { launchUs: 1, slowdown: 1.5 }),
    });
    const { opBegin, ops } = schedule;
    for (let rank = 0; rank < 6; rank++) {
      const groupEnds: number[] = [];
      const computationEnds: number[] = [];
      let laneEndUs = 0;
      for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
        const isTransfer = ops.group[row] >= 0;
        const waited = (isTransfer ? computationEnds : groupEnds).slice(0, waits[row]);
        for (const endUs of waited) expect(trace.beginUs[row]).toBeGreaterThanOrEqual(endUs - 1e-9);
        if (isTransfer) groupEnds[ops.group[row]] = trace.endUs[row];
        else {
          expect(trace.beginUs[row]).toBeGreaterThanOrEqual(laneEndUs - 1e-9);
          laneEndUs = trace.endUs[row];
          computationEnds.push(laneEndUs);
        }
        expect(trace.endUs[row]).toBeGreaterThanOrEqual(trace.beginUs[row]);
        expect(trace.endUs[row]).toBeLessThanOrEqual(trace.durationUs + 1e-9);
      }
    }
  });

  it("slows computation down while bytes travel, and only then", () => {
    const problem = plainProblem([4096], plainCluster(2));
    const fast = simulate(ringSchedule(problem), { hardware });
    const slow = simulate(ringSchedule(problem), { hardware: idealHardware({}, { slowdown: 2 }) });
    const travelUs = 2 + kvBytesOf(problem) / 2 / 100_000;
    // For as long as the message travels only half of the work is done.
    expect(slow.perRank[1].computingUs - fast.perRank[1].computingUs).toBeCloseTo(travelUs / 2, 6);
  });

  it("is held up by a host that issues slower than the device works", () => {
    const problem = plainProblem([256], plainCluster(4));
    const ahead = simulate(ringSchedule(problem), { hardware: idealHardware({ hostUs: 1 }) });
    const behind = simulate(ringSchedule(problem), { hardware: idealHardware({ hostUs: 1000 }) });
    expect(ahead.trace.durationUs).toBeLessThan(200);
    expect(behind.trace.durationUs).toBeGreaterThan(3000);
  });

  it("pays for each call what its callers move around it", () => {
    const problem = plainProblem([2048], plainCluster(1));
    const moving = simulate(ringSchedule(problem), { hardware: idealHardware({ queryPasses: 3, keyPasses: 2 }) });
    const still = simulate(ringSchedule(problem), { hardware });
    // 1000 GB/s: 3 passes over 2048 * 4 * 64 * 2 bytes and 2 passes over k and v of half as many heads.
    const bytes = 2048 * 64 * 2 * (3 * 4 + 2 * 2 * 2);
    expect(moving.trace.durationUs - still.trace.durationUs).toBeCloseTo(bytes / 1e6, 6);
  });

  it("adds to outputs of an earlier call at the price of accumulating", () => {
    const problem = plainProblem([2048], plainCluster(2));
    const cost = (passes: number) =>
      simulate(ringSchedule(problem), { hardware: idealHardware({ accumulatePasses: passes }) }).perRank[1].computingUs;
    // Rank 1 adds once to its 1024 rows, rank 0 has one call only.
    expect(cost(2) - cost(0)).toBeCloseTo((2 * 1024 * 4 * 64 * 2) / 1e6, 6);
  });

  it("refuses kernels and libraries that it does not know, in one line", () => {
    const schedule = ringSchedule(plainProblem([8], plainCluster(1)));
    expect(() => simulate(schedule, { hardware, kernel: "fast" })).toThrow("unknown kernel: fast (known: ideal)");
    expect(() => simulate(schedule, { hardware, library: "mpi" })).toThrow("unknown library: mpi (known: ideal)");
  });

  it("says which rank waits for ever where programs wait for each other", () => {
    const problem = plainProblem([8, 8], plainCluster(2));
    const builder = new ScheduleBuilder(
      problem,
      "stuck",
      {},
      layoutOf([[{ begin: 0, end: 8 }], [{ begin: 8, end: 16 }]]),
    );
    const k = (rank: number) => [builder.block("k", { begin: 8 * rank, end: 8 * rank + 8 })];
    for (const rank of [0, 1]) {
      builder.rank(rank).exchange("p2p", [{ from: 1 - rank, blocks: k(1 - rank) }]);
      builder.rank(rank).exchange("p2p", [{ to: 1 - rank, blocks: k(rank) }]);
    }
    expect(() => simulate(builder.finish(), { hardware })).toThrow("deadlock: rank 0 waits for ever");
  });

  it("keeps every rank's breakdown together to the step, at and above the floors, and links within their bandwidth", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom("ring" as const, "allGather" as const, "allToAll" as const, "broadcast" as const),
        fc.double({ min: 1, max: 2, noNaN: true }),
        (lengths, ranks, ranksPerNode, kind, slowdown) => {
          const problem = plainProblem(lengths, plainCluster(ranks, ranksPerNode));
          const schedule = kind === "ring" ? ringSchedule(problem) : gatherSchedule(problem, kind);
          const options = { hardware: idealHardware({ tileRows: 8 }, { slowdown }) };
          const { trace, perRank, floors, highestLinkUse } = simulate(schedule, options);
          for (const { computingUs, exposedCommunicationUs, waitingUs } of perRank)
            expect(computingUs + exposedCommunicationUs + waitingUs).toBeCloseTo(trace.durationUs, 6);
          const floor = Math.max(floors.computationUs, floors.bandwidthUs, floors.problemUs);
          expect(trace.durationUs).toBeGreaterThanOrEqual(floor * (1 - 1e-9));
          expect(highestLinkUse).toBeLessThanOrEqual(1 + 1e-9);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("takes measured times of ops in place of the kernel's", () => {
    const problem = plainProblem([300], plainCluster(3));
    const schedule = ringSchedule(problem);
    const measuredUs = Float64Array.from(schedule.ops.kind, (_, row) => (schedule.ops.group[row] < 0 ? 10 : 0));
    const { perRank, floors } = simulate(schedule, { hardware, measuredUs });
    expect(perRank.map(({ computingUs }) => computingUs)).toEqual([10, 20, 30]);
    expect(floors.computationUs).toBe(30);
    expect(areaOf(problem)).toBe(45_150);
  });
});

describe("simulate, collectives", () => {
  it("sends what an all-gather brings to a node into it only once, spread over its cards", () => {
    const problem = plainProblem([4096], plainCluster(8, 4));
    const gathered = simulate(gatherSchedule(problem), { hardware });
    const pairwise = simulate(gatherSchedule(problem, "allToAll"), { hardware });
    const half = kvBytesOf(problem) / 2;
    expect(gathered.carriedBytesByLevel[1]).toBeCloseTo(2 * half, 3);
    expect(pairwise.carriedBytesByLevel[1]).toBeCloseTo(2 * 4 * half, 3);
  });

  it("sends what several ranks of a node need once for a broadcast, however it is cut", () => {
    const problem = plainProblem([4096], plainCluster(8, 4));
    const { carriedBytesByLevel } = simulate(gatherSchedule(problem, "broadcast"), { hardware });
    expect(carriedBytesByLevel[1]).toBeCloseTo(kvBytesOf(problem), 3);
  });

  it("carries the bytes that a pairwise schedule sends, level by level", () => {
    const schedule = gatherSchedule(plainProblem([4096], plainCluster(6, 2)), "allToAll");
    const { carriedBytesByLevel } = simulate(schedule, { hardware });
    accountOf(schedule).bytesByLevel.forEach((bytes, level) => {
      expect(carriedBytesByLevel[level]).toBeCloseTo(bytes, 3);
    });
  });

  it("waits for P - 1 steps of a ring", () => {
    const collective = {
      baseUs: 7,
      algorithm: "ring" as const,
      packPasses: 0,
      lineRate: [1, 1] as const,
      shares: [{ nodes: 1, points: [[1, 1] as const] }],
    };
    const problem = plainProblem([64], plainCluster(4));
    const plain = simulate(gatherSchedule(problem), { hardware });
    const stepped = simulate(gatherSchedule(problem), {
      hardware: idealHardware({}, { hopUs: [3, 10], collectives: { allGather: collective } }),
    });
    expect(stepped.trace.durationUs - plain.trace.durationUs).toBeCloseTo(7 + 3 * 3, 6);
  });

  it.each([
    // 8 ranks in 4 nodes: 7 steps of which 3 between nodes; up and down 3 levels, 2 of them between nodes; all at once.
    ["ring", 4 * 3 + 3 * 10],
    ["tree", 2 * 3 + 4 * 10],
    ["pairs", 10],
  ] as const)("waits for the steps of a %s, inside nodes and between them", (algorithm, stepsUs) => {
    const shares = [{ nodes: 1, points: [[1, 1] as const] }];
    const collective = { baseUs: 0, algorithm, packPasses: 0, lineRate: [1, 1] as const, shares };
    const problem = plainProblem([64], plainCluster(8, 2));
    const plain = simulate(gatherSchedule(problem), { hardware });
    const stepped = simulate(gatherSchedule(problem), {
      hardware: idealHardware({}, { hopUs: [3, 10], collectives: { allGather: collective } }),
    });
    expect(stepped.trace.durationUs - plain.trace.durationUs).toBeCloseTo(stepsUs, 6);
  });

  it("attains only its share of the links", () => {
    const shares = [{ nodes: 1, points: [[1e3, 0.2] as const, [1e9, 0.8] as const] }];
    const collective = { baseUs: 0, algorithm: "pairs" as const, packPasses: 0, lineRate: [1, 1] as const, shares };
    const schedule = gatherSchedule(plainProblem([4096], plainCluster(2)), "allToAll");
    const moveUs = (simulation: ReturnType<typeof simulate>) => simulation.perRank[0].communicatingUs;
    const full = moveUs(simulate(schedule, { hardware }));
    const partial = moveUs(
      simulate(schedule, { hardware: idealHardware({}, { collectives: { allToAll: collective } }) }),
    );
    // 2048 * 512 bytes each way: half way between 1 kB and 1 GB in logarithm, but for 0.9 %.
    const share = 0.2 + (0.6 * Math.log(1048.576)) / Math.log(1e6);
    expect(partial / full).toBeCloseTo(1 / share, 6);
  });

  it("lets ranks that share a card have its bandwidth together", () => {
    const schedule = gatherSchedule(plainProblem([4096], plainCluster(4, 2)), "allToAll");
    const own = simulate(schedule, { hardware });
    const shared = simulate(schedule, { hardware: idealHardware({}, { ranksPerNic: 2 }) });
    expect(shared.trace.durationUs).toBeCloseTo(own.trace.durationUs, 6);
    expect(shared.highestLinkUse).toBeLessThanOrEqual(1 + 1e-9);
  });
});
