import { type Allocation, allocate } from "./allocation.ts";
import { dataWaits, itemsOf } from "./dependencies.ts";
import { handedOver } from "./handed-over.ts";
import { type LoweredSchedule, regionFlags, tensorNames } from "./lowered.ts";
import { type RankRegions, regionMaker } from "./regions.ts";
import { type Schedule, worldSizeOf } from "./schedule.ts";
import { rowsOf } from "./tensor.ts";

/**
 * Gives every block of a schedule a place and every op what it waits for:
 *
 * 1. `regions`: blocks that overlap on a rank share one bounding box;
 * 2. `allocation`: regions live from first to last use in issue order, and take the smallest hole of the rank's arena that
 *    does not hold up computation;
 * 3. `dependencies`: an op waits for the last op of the other lane that wrote, or used, what it uses or writes, and for
 *    the last user of memory that it takes over.
 *
 * Lanes run in order, so both kinds of waiting are one count for each op. The schedule should have passed `verify`; one
 * that has not still lowers, to something that need not make sense.
 */
export function lower(schedule: Schedule): LoweredSchedule {
  const ranks = worldSizeOf(schedule);
  const regions: RankRegions[] = [];
  const allocations: Allocation[] = [];
  const waitFor = new Int32Array(schedule.ops.kind.length);
  const makeRegions = regionMaker(schedule);
  for (let rank = 0; rank < ranks; rank++) {
    const own = makeRegions(rank);
    const items = itemsOf(schedule, rank);
    const waits = dataWaits(schedule, own, items);
    const allocation = allocate(schedule, own, items, waits);
    for (let i = 0; i < waits.length; i++)
      waitFor[schedule.opBegin[rank] + i] = Math.max(waits[i], allocation.waits[i]);
    regions.push(own);
    allocations.push(allocation);
  }
  const regionBegin = new Int32Array(ranks + 1);
  regions.forEach(({ count }, rank) => {
    regionBegin[rank + 1] = regionBegin[rank] + count;
  });
  const { kind, attribute, peer, group, operandBegin } = schedule.ops;
  return {
    rank: {
      opBegin: schedule.opBegin,
      regionBegin,
      arenaBytes: Float64Array.from(allocations, ({ arenaBytes }) => arenaBytes),
    },
    tensor: tensorTable(schedule),
    region: regionTable(schedule, regions, allocations, regionBegin),
    owned: ownedTable(regions, regionBegin),
    op: { kind, attribute, peer, group, waitFor, operandBegin },
    operand: operandTable(schedule, regions, regionBegin),
  };
}

/**
 * For each op, how many items of the other lane of its rank must be finished first because of the data it uses: what
 * `waitFor` says in a lowered schedule, without the waits for memory that is taken over. For whoever has memory enough.
 */
export function dataWaitsOf(schedule: Schedule): Int32Array {
  const waits = new Int32Array(schedule.ops.kind.length);
  const makeRegions = regionMaker(schedule);
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    waits.set(dataWaits(schedule, makeRegions(rank), itemsOf(schedule, rank)), schedule.opBegin[rank]);
  }
  return waits;
}

/** Peak bytes of each rank: the arena sizes that `lower` would give, without the rest of its work. */
export function peakBytesOf(schedule: Schedule): Float64Array {
  const peakOf = rankPeaks(schedule);
  return Float64Array.from({ length: worldSizeOf(schedule) }, (_, rank) => peakOf(rank));
}

/** As `peakBytesOf`, one rank at a time, for whoever may not need them all. */
export function rankPeaks(schedule: Schedule): (rank: number) => number {
  const makeRegions = regionMaker(schedule);
  return (rank) => {
    const own = makeRegions(rank);
    const items = itemsOf(schedule, rank);
    return allocate(schedule, own, items, dataWaits(schedule, own, items)).arenaBytes;
  };
}

function tensorTable({ tensors, problem }: Schedule): LoweredSchedule["tensor"] {
  const names: readonly string[] = tensorNames;
  return {
    code: Int32Array.from(tensors, ({ name }, i) => (names.includes(name) ? names.indexOf(name) : names.length + i)),
    heads: Int32Array.from(tensors, ({ heads }) => heads),
    width: Int32Array.from(tensors, ({ width }) => width),
    rows: Int32Array.from(tensors, (spec) => rowsOf(spec, problem)),
    dtype: Uint8Array.from(tensors, ({ dtype }) => (dtype === "fp32" ? 0 : 1)),
    role: Uint8Array.from(tensors, ({ role }) => ["input", "output", "internal"].indexOf(role)),
    accumulates: Uint8Array.from(tensors, ({ accumulates }) => (accumulates ? 1 : 0)),
  };
}

function regionTable(
  schedule: Schedule,
  regions: readonly RankRegions[],
  allocations: readonly Allocation[],
  regionBegin: Int32Array,
): LoweredSchedule["region"] {
  const count = regionBegin[regions.length];
  const boxes = {
    tensor: new Int32Array(count),
    part: new Int32Array(count),
    tokenBegin: new Int32Array(count),
    tokenEnd: new Int32Array(count),
    headBegin: new Int32Array(count),
    headEnd: new Int32Array(count),
  };
  const offset = new Float64Array(count);
  const flags = new Int32Array(count);
  const initOp = new Int32Array(count);
  const handed = handedOver(schedule, regions);
  const boxColumns = Object.keys(boxes) as (keyof typeof boxes)[];
  regions.forEach((own, rank) => {
    const first = regionBegin[rank];
    for (const name of boxColumns) boxes[name].set(own[name], first);
    offset.set(allocations[rank].offset, first);
    const init = allocations[rank].initOp;
    for (let i = 0; i < own.count; i++) {
      initOp[first + i] = init[i] >= 0 ? schedule.opBegin[rank] + init[i] : init[i];
      if (handed[rank][i] === 1) flags[first + i] |= regionFlags.handedOver;
    }
    for (const { region, tensor } of own.owned)
      flags[first + region] |= schedule.tensors[tensor].role === "input" ? regionFlags.input : regionFlags.output;
  });
  return { ...boxes, offset, flags, initOp };
}

function ownedTable(regions: readonly RankRegions[], regionBegin: Int32Array): LoweredSchedule["owned"] {
  const rows = regions.flatMap(({ owned }, rank) =>
    owned.map((range) => ({ ...range, region: regionBegin[rank] + range.region })),
  );
  return {
    region: Int32Array.from(rows, ({ region }) => region),
    tokenBegin: Int32Array.from(rows, ({ tokenBegin }) => tokenBegin),
    tokenEnd: Int32Array.from(rows, ({ tokenEnd }) => tokenEnd),
  };
}

function operandTable(
  { ops, blocks }: Schedule,
  regions: readonly RankRegions[],
  regionBegin: Int32Array,
): LoweredSchedule["operand"] {
  const count = ops.operands.length;
  const region = new Int32Array(count);
  const tokenBegin = new Int32Array(count);
  const tokenEnd = new Int32Array(count);
  const headBegin = new Int32Array(count);
  const headEnd = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const id = ops.operands[i];
    tokenBegin[i] = blocks.tokenBegin[id];
    tokenEnd[i] = blocks.tokenEnd[id];
    headBegin[i] = blocks.headBegin[id];
    headEnd[i] = blocks.headEnd[id];
  }
  let operand = 0;
  regions.forEach(({ ofOperand }, rank) => {
    for (let i = 0; i < ofOperand.length; i++) region[operand++] = regionBegin[rank] + ofOperand[i];
  });
  return { region, tokenBegin, tokenEnd, headBegin, headEnd };
}
