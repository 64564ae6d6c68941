import { dataWaitsOf, layoutOf, type Schedule, ScheduleBuilder } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { laneWaitsOf } from "../src/lane-waits.ts";
import { plainCluster, plainProblem, ringSchedule } from "./plain-hardware.ts";

const tokens = 40;
const anyRange = fc
  .tuple(fc.nat(tokens - 1), fc.integer({ min: 1, max: 12 }))
  .map(([begin, length]) => ({ begin, end: Math.min(tokens, begin + length) }));
const anyHeads = fc.constantFrom([0, 2], [0, 1], [1, 2]).map(([begin, end]) => [begin, end] as const);
const anyPart = fc.nat(2);
type Value<A> = A extends fc.Arbitrary<infer T> ? T : never;
const anyOp = fc.record({
  kind: fc.constantFrom("send" as const, "recv" as const, "reduce" as const, "copy" as const),
  tensor: fc.constantFrom("k", "v"),
  ranges: fc.array(anyRange, { minLength: 1, maxLength: 4 }),
  heads: anyHeads,
  part: anyPart,
});

/** Programs of any ops on any blocks: two ranks that do not understand each other, since waits are of one rank alone. */
function anySchedule(ops: readonly { rank: number; op: Value<typeof anyOp> }[]): Schedule {
  const problem = plainProblem([tokens], plainCluster(2));
  const halves = [
    { begin: 0, end: tokens / 2 },
    { begin: tokens / 2, end: tokens },
  ];
  const builder = new ScheduleBuilder(problem, "any", {}, layoutOf(halves.map((range) => [range])));
  for (const { rank, op } of ops) {
    const { kind, tensor, ranges, heads, part } = op;
    const blocks = ranges.map((range) => builder.block(tensor, range, [heads[0], heads[1]], part));
    const program = builder.rank(rank);
    if (kind === "send") program.exchange("p2p", [{ to: 1 - rank, blocks }]);
    else if (kind === "recv") program.exchange("p2p", [{ from: 1 - rank, blocks }]);
    else if (kind === "reduce") program.reduce(blocks[0], ...blocks.slice(1));
    else program.copy(blocks[0], blocks[blocks.length - 1]);
  }
  return builder.finish();
}

describe("what an item waits for on the other lane", () => {
  it("is what lowering finds, for any ops on any blocks, however they overlap", () => {
    const program = fc.array(fc.record({ rank: fc.nat(1), op: anyOp }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(program, (ops) => {
        const schedule = anySchedule(ops);
        expect(laneWaitsOf(schedule)).toEqual(dataWaitsOf(schedule));
      }),
      { numRuns: 500 },
    );
  });

  it("is what lowering finds for a ring, forward and backward", () => {
    for (const pass of ["forward", "backward"] as const) {
      const schedule = ringSchedule(plainProblem([700, 3, 1300], plainCluster(6, 2), pass));
      expect(laneWaitsOf(schedule)).toEqual(dataWaitsOf(schedule));
      expect(Math.max(...laneWaitsOf(schedule))).toBeGreaterThan(0);
    }
  });
});
