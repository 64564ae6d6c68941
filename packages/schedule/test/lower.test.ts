import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dataWaits, itemsOf } from "../src/dependencies.ts";
import {
  type Block,
  dataWaitsOf,
  isCommunication,
  type LoweredSchedule,
  lower,
  opAt,
  opKinds,
  peakBytesOf,
  regionFlags,
  type Schedule,
  worldSizeOf,
  writtenBlocks,
} from "../src/index.ts";
import { regionMaker } from "../src/regions.ts";
import { anySchedule } from "./any-schedule.ts";
import { smallProblem, smallRing } from "./small-ring.ts";

const bytesOf = (lowered: LoweredSchedule, region: number): number => {
  const { region: r, tensor } = lowered;
  const elements = (r.tokenEnd[region] - r.tokenBegin[region]) * (r.headEnd[region] - r.headBegin[region]);
  const element = tensor.accumulates[r.tensor[region]] || tensor.dtype[r.tensor[region]] === 0 ? 4 : 2;
  return elements * tensor.width[r.tensor[region]] * element;
};

describe("lower, on a ring", () => {
  const ring = (pass: "forward" | "backward" = "forward") =>
    smallRing(smallProblem({ lengths: [64], ranks: 4, mask: "full", pass }));

  it("keeps two received (k, v) pairs at a time: the one in use and the one on its way", () => {
    const { rank } = lower(ring());
    const tokens = 16;
    const rows = tokens * 4 * (8 + 8 + 1) * 4 + 2 * tokens * 2 * 8 * 4;
    const pair = 2 * tokens * 2 * 8 * 4;
    expect([...rank.arenaBytes]).toEqual([0, 0, 0, 0].map(() => rows + 2 * pair));
  });

  it("lets the next group start while tiles run, but not before the buffer it takes over is free", () => {
    const schedule = ring();
    const { op } = lower(schedule);
    // Each rank: (send recv) attend (send recv) attend (send recv) attend attend.
    const row = (i: number) => ({ kind: opKinds[op.kind[i]], waitFor: op.waitFor[i] });
    expect(Array.from({ length: 10 }, (_, i) => row(i))).toEqual([
      { kind: "send", waitFor: 0 },
      { kind: "recv", waitFor: 0 },
      { kind: "attend", waitFor: 0 },
      { kind: "send", waitFor: 0 },
      { kind: "recv", waitFor: 0 },
      { kind: "attend", waitFor: 1 },
      { kind: "send", waitFor: 2 },
      { kind: "recv", waitFor: 2 },
      { kind: "attend", waitFor: 2 },
      { kind: "attend", waitFor: 3 },
    ]);
  });

  it("marks received inputs as handed over, along the whole ring, and partial sums not", () => {
    const lowered = lower(ring("backward"));
    const names = smallRing(smallProblem({ lengths: [64], ranks: 4, pass: "backward" })).tensors.map(
      ({ name }) => name,
    );
    const { region } = lowered;
    for (let i = 0; i < region.tensor.length; i++) {
      const name = names[region.tensor[i]];
      const isOwned = (region.flags[i] & (regionFlags.input | regionFlags.output)) !== 0;
      expect((region.flags[i] & regionFlags.handedOver) !== 0).toBe(!isOwned && (name === "k" || name === "v"));
    }
  });

  it("sets accumulators empty before their first use, owned ones before the program, received ones never", () => {
    const schedule = ring("backward");
    const { region, op } = lower(schedule);
    for (let i = 0; i < region.tensor.length; i++) {
      const { name, accumulates } = schedule.tensors[region.tensor[i]];
      if (!accumulates) expect(region.initOp[i]).toBe(-2);
      else if ((region.flags[i] & regionFlags.output) !== 0) expect(region.initOp[i]).toBe(-1);
      else if (name === "dk" || name === "dv")
        expect(region.initOp[i] === -2 || opKinds[op.kind[region.initOp[i]]] === "attend").toBe(true);
    }
    expect([...region.initOp].some((row) => row >= 0)).toBe(true);
  });

  it("holds bf16 inputs in 2 bytes and accumulators in 4", () => {
    const problem = smallProblem({ lengths: [64], ranks: 1, shape: { dtype: "bf16" } });
    const tokens = 64;
    expect(peakBytesOf(smallRing(problem))[0]).toBe(tokens * (4 * 8 * 2 + 2 * 2 * 8 * 2 + 4 * 8 * 4 + 4 * 4));
  });

  it("lowers a rank that owns nothing and one that does nothing", () => {
    const { rank } = lower(smallRing(smallProblem({ lengths: [2], ranks: 3 })));
    expect(rank.arenaBytes[2]).toBe(2 * 2 * (2 * 8 * 4));
    const alone = lower(smallRing(smallProblem({ lengths: [1], ranks: 2 })));
    expect([...alone.rank.arenaBytes].map((bytes) => bytes > 0)).toEqual([true, true]);
  });
});

describe("lower, on any schedule", () => {
  it("puts each operand into exactly one region, the bounding box of blocks that overlap", () => {
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        const { region, rank, operand } = lower(schedule);
        for (let r = 0; r < worldSizeOf(schedule); r++) {
          const [begin, end] = [rank.regionBegin[r], rank.regionBegin[r + 1]];
          for (let a = begin; a < end; a++)
            for (let b = a + 1; b < end; b++)
              expect(
                region.tensor[a] === region.tensor[b] && region.part[a] === region.part[b] && overlap(region, a, b),
              ).toBe(false);
        }
        for (let i = 0; i < operand.region.length; i++) {
          const at = operand.region[i];
          expect(operand.tokenBegin[i]).toBeGreaterThanOrEqual(region.tokenBegin[at]);
          expect(operand.tokenEnd[i]).toBeLessThanOrEqual(region.tokenEnd[at]);
          expect(operand.headBegin[i]).toBeGreaterThanOrEqual(region.headBegin[at]);
          expect(operand.headEnd[i]).toBeLessThanOrEqual(region.headEnd[at]);
        }
        expect(regionCounts(schedule)).toEqual(Array.from(rank.regionBegin).slice(1));
      }),
    );
  });

  it("never places two regions that live at the same time at the same bytes", () => {
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        const lowered = lower(schedule);
        const life = lifetimes(schedule, lowered);
        for (let r = 0; r < worldSizeOf(schedule); r++) {
          for (let a = lowered.rank.regionBegin[r]; a < lowered.rank.regionBegin[r + 1]; a++) {
            const end = lowered.region.offset[a] + bytesOf(lowered, a);
            expect(lowered.region.offset[a] % 64).toBe(0);
            expect(end).toBeLessThanOrEqual(lowered.rank.arenaBytes[r]);
            for (let b = lowered.rank.regionBegin[r]; b < a; b++)
              if (life[a].begin <= life[b].end && life[b].begin <= life[a].end)
                expect(sharesBytes(lowered, a, b)).toBe(false);
          }
        }
        expect(peakBytesOf(schedule)).toEqual(lowered.rank.arenaBytes);
      }),
    );
  });

  it("never lets computation wait for a transfer only because of memory that it takes over", () => {
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        const { op, region } = lower(schedule);
        const dataWaits = dataWaitsOf(schedule);
        const emptying = new Set(region.initOp);
        for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
          let finished = 0;
          for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
            if (isCommunication(opKinds[op.kind[row]])) {
              // Whoever comes second to an accumulator waits for the transfer that sets it empty.
              if (emptying.has(row)) break;
              continue;
            }
            finished = Math.max(finished, dataWaits[row]);
            expect(op.waitFor[row]).toBeLessThanOrEqual(finished);
          }
        }
      }),
    );
  });

  it("orders every two ops that conflict in a block, in memory, or in setting an accumulator empty", () => {
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        const lowered = lower(schedule);
        for (let r = 0; r < worldSizeOf(schedule); r++) {
          const items = itemsWithAccesses(schedule, lowered, r);
          const before = happensBefore(items);
          items.forEach((later, j) => {
            items.slice(0, j).forEach((earlier, i) => {
              if (conflicts(lowered, earlier, later)) expect(before[j].has(i)).toBe(true);
            });
          });
        }
      }),
    );
  });

  it("waits for data no longer than it must", () => {
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        const lowered = lower(schedule);
        const makeRegions = regionMaker(schedule);
        for (let r = 0; r < worldSizeOf(schedule); r++) {
          const waits = dataWaits(schedule, makeRegions(r), itemsOf(schedule, r));
          const items = itemsWithAccesses(schedule, lowered, r);
          items.forEach((later, j) => {
            const needed = items
              .slice(0, j)
              .filter((earlier) => earlier.lane !== later.lane && shareData(earlier, later))
              .reduce((latest, { ordinal }) => Math.max(latest, ordinal), 0);
            expect(waits[later.rows[0] - schedule.opBegin[r]]).toBe(needed);
          });
        }
      }),
    );
  });
});

interface Access {
  block: Block;
  writes: boolean;
  region: number;
}

interface Item {
  lane: number;
  ordinal: number;
  waitFor: number;
  rows: number[];
  accesses: Access[];
}

/** The items of a rank with all their accesses, straight from the op views. */
function itemsWithAccesses(schedule: Schedule, lowered: LoweredSchedule, rank: number): Item[] {
  const items: Item[] = [];
  const counts = [0, 0];
  let group = -1;
  for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
    const op = opAt(schedule, row);
    const lane = isCommunication(op.kind) ? 0 : 1;
    const ownGroup = "group" in op ? op.group : -1;
    if (lane === 1 || ownGroup !== group)
      items.push({ lane, ordinal: ++counts[lane], waitFor: lowered.op.waitFor[row], rows: [], accesses: [] });
    group = ownGroup;
    const written = writtenBlocks(op.kind, op.blocks.length, schedule.problem.pass === "backward");
    items[items.length - 1].rows.push(row);
    op.blocks.forEach((block, i) => {
      const region = lowered.operand.region[schedule.ops.operandBegin[row] + i];
      items[items.length - 1].accesses.push({ block, writes: written.includes(i), region });
    });
  }
  return items;
}

const overlapping = (a: Block, b: Block): boolean =>
  a.tensor === b.tensor &&
  a.part === b.part &&
  a.tokenBegin < b.tokenEnd &&
  b.tokenBegin < a.tokenEnd &&
  a.headBegin < b.headEnd &&
  b.headBegin < a.headEnd;

const shareData = (earlier: Item, later: Item): boolean =>
  earlier.accesses.some((a) => later.accesses.some((b) => (a.writes || b.writes) && overlapping(a.block, b.block)));

function conflicts(lowered: LoweredSchedule, earlier: Item, later: Item): boolean {
  const sharesMemory = earlier.accesses.some((a) =>
    later.accesses.some((b) => a.region !== b.region && sharesBytes(lowered, a.region, b.region)),
  );
  const setsEmpty = earlier.accesses.some(
    ({ region }) =>
      earlier.rows.includes(lowered.region.initOp[region]) && later.accesses.some((b) => b.region === region),
  );
  return sharesMemory || setsEmpty || shareData(earlier, later);
}

/** For each item, all items that are surely finished when it starts: by lane order and `waitFor`, transitively. */
function happensBefore(items: readonly Item[]): Set<number>[] {
  const before: Set<number>[] = [];
  items.forEach((item, j) => {
    const own = new Set<number>();
    items.slice(0, j).forEach((earlier, i) => {
      const ordered = earlier.lane === item.lane || earlier.ordinal <= item.waitFor;
      if (ordered) for (const each of [i, ...before[i]]) own.add(each);
    });
    before.push(own);
  });
  return before;
}

function overlap(region: LoweredSchedule["region"], a: number, b: number): boolean {
  return (
    region.tokenBegin[a] < region.tokenEnd[b] &&
    region.tokenBegin[b] < region.tokenEnd[a] &&
    region.headBegin[a] < region.headEnd[b] &&
    region.headBegin[b] < region.headEnd[a]
  );
}

function sharesBytes(lowered: LoweredSchedule, a: number, b: number): boolean {
  const { offset } = lowered.region;
  return offset[a] < offset[b] + bytesOf(lowered, b) && offset[b] < offset[a] + bytesOf(lowered, a);
}

/** First and last item of each region, counted over the rank's items; owned regions live for the whole program. */
function lifetimes(schedule: Schedule, lowered: LoweredSchedule): { begin: number; end: number }[] {
  const life = Array.from(lowered.region.flags, (flags) =>
    (flags & (regionFlags.input | regionFlags.output)) !== 0
      ? { begin: -1, end: Number.POSITIVE_INFINITY }
      : { begin: Number.POSITIVE_INFINITY, end: -1 },
  );
  for (let r = 0; r < worldSizeOf(schedule); r++) {
    itemsWithAccesses(schedule, lowered, r).forEach(({ accesses }, item) => {
      for (const { region } of accesses) {
        life[region].begin = Math.min(life[region].begin, item);
        life[region].end = Math.max(life[region].end, item);
      }
    });
  }
  return life;
}

/** How many regions there must be up to each rank, found by joining bounding boxes pair by pair until none overlap. */
function regionCounts(schedule: Schedule): number[] {
  let total = 0;
  return Array.from({ length: worldSizeOf(schedule) }, (_, rank) => {
    let boxes: Block[] = [];
    for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++)
      boxes.push(...opAt(schedule, row).blocks);
    for (let settled = false; !settled; ) {
      settled = true;
      const next: Block[] = [];
      for (const box of boxes) {
        const at = next.findIndex((other) => overlapping(box, other));
        if (at < 0) next.push(box);
        else {
          settled = false;
          next[at] = {
            ...box,
            tokenBegin: Math.min(box.tokenBegin, next[at].tokenBegin),
            tokenEnd: Math.max(box.tokenEnd, next[at].tokenEnd),
            headBegin: Math.min(box.headBegin, next[at].headBegin),
            headEnd: Math.max(box.headEnd, next[at].headEnd),
          };
        }
      }
      boxes = next;
    }
    total += boxes.length;
    return total;
  });
}
