import { isSet } from "./dependencies.ts";
import { opKinds, writtenMasks } from "./op.ts";
import type { RankRegions } from "./regions.ts";
import type { Schedule } from "./schedule.ts";
import { pairTransfers } from "./transfers.ts";

/**
 * For each rank's regions, 1 if an engine in one address space may alias the sender's memory instead of copying: the
 * region is a piece of an input tensor, its only write is one receive that covers it, and the memory it comes from never
 * changes: it is an input of its owner that nobody writes, or is itself handed over.
 */
export function handedOver(schedule: Schedule, regions: readonly RankRegions[]): Uint8Array[] {
  const { ops, opBegin } = schedule;
  const partner = pairTransfers(schedule);
  const writes = regions.map((each) => writesOf(schedule, each));
  const origin = regions.map((each, rank) => originsOf(schedule, each, writes[rank]));

  /** Whether the region's memory never changes; settles every region that its data came through on the way. */
  const isStill = (rank: number, region: number): boolean => {
    const known = origin[rank][region];
    if (known !== received) return known === still || known === handed;
    // Data that comes back to where it started has no owner.
    origin[rank][region] = changing;
    const row = writes[rank].row[region];
    const operand = writes[rank].operand[region];
    const sent = partner[row];
    if (sent < 0) return false;
    const source = ops.operandBegin[sent] + operand - ops.operandBegin[row];
    if (source >= ops.operandBegin[sent + 1] || !isSameBlock(schedule, source, operand)) return false;
    const from = ops.peer[row];
    const fromRegion = regions[from].ofOperand[source - ops.operandBegin[opBegin[from]]];
    if (isStill(from, fromRegion)) origin[rank][region] = handed;
    return origin[rank][region] === handed;
  };

  return regions.map(({ count }, rank) => {
    const flags = new Uint8Array(count);
    for (let region = 0; region < count; region++)
      if (origin[rank][region] !== still && isStill(rank, region)) flags[region] = 1;
    return flags;
  });
}

const [changing, still, received, handed] = [0, 1, 2, 3];

/** The only write of each region: its row and its position in the schedule's `operands` column; row `none` or `many` otherwise. */
interface Writes {
  readonly row: Int32Array;
  readonly operand: Int32Array;
}

const [none, many] = [-1, -2];

function writesOf({ ops, opBegin, problem }: Schedule, { rank, count, ofOperand }: RankRegions): Writes {
  const writes = { row: new Int32Array(count).fill(none), operand: new Int32Array(count) };
  const written = writtenMasks(problem.pass === "backward");
  const firstOperand = ops.operandBegin[opBegin[rank]];
  for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
    const mask = written[ops.kind[row]];
    if (mask === 0) continue;
    const begin = ops.operandBegin[row];
    for (let operand = begin; operand < ops.operandBegin[row + 1]; operand++) {
      if (!isSet(mask, operand - begin)) continue;
      const region = ofOperand[operand - firstOperand];
      writes.row[region] = writes.row[region] === none ? row : many;
      writes.operand[region] = operand;
    }
  }
  return writes;
}

/** What each region is before its data is followed: still (an unwritten input of its owner), received, or changing. */
function originsOf(schedule: Schedule, regions: RankRegions, writes: Writes): Uint8Array {
  const { ops, blocks, tensors } = schedule;
  const origins = new Uint8Array(regions.count).fill(changing);
  const owned = new Uint8Array(regions.count);
  for (const { region } of regions.owned) owned[region] = 1;
  const recv = opKinds.indexOf("recv");
  for (let region = 0; region < regions.count; region++) {
    const row = writes.row[region];
    if (tensors[regions.tensor[region]].role !== "input" || row === many) continue;
    if (owned[region] === 1) {
      if (row === none) origins[region] = still;
      continue;
    }
    if (row === none || ops.kind[row] !== recv) continue;
    const id = ops.operands[writes.operand[region]];
    const covers =
      blocks.tokenBegin[id] === regions.tokenBegin[region] &&
      blocks.tokenEnd[id] === regions.tokenEnd[region] &&
      blocks.headBegin[id] === regions.headBegin[region] &&
      blocks.headEnd[id] === regions.headEnd[region];
    if (covers) origins[region] = received;
  }
  return origins;
}

function isSameBlock({ ops, blocks }: Schedule, operandA: number, operandB: number): boolean {
  const a = ops.operands[operandA];
  const b = ops.operands[operandB];
  return (
    blocks.tensor[a] === blocks.tensor[b] &&
    blocks.part[a] === blocks.part[b] &&
    blocks.tokenBegin[a] === blocks.tokenBegin[b] &&
    blocks.tokenEnd[a] === blocks.tokenEnd[b] &&
    blocks.headBegin[a] === blocks.headBegin[b] &&
    blocks.headEnd[a] === blocks.headEnd[b]
  );
}
