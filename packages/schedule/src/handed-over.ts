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
    const { row, operand } = writes[rank][region] as Write;
    const sent = partner[row];
    if (sent < 0) return false;
    const source = ops.operandBegin[sent] + operand - ops.operandBegin[row];
    if (source >= ops.operandBegin[sent + 1] || !isSameBlock(schedule, source, operand)) return false;
    const from = ops.peer[row];
    const fromRegion = regions[from].ofOperand[source - ops.operandBegin[opBegin[from]]];
    if (isStill(from, fromRegion)) origin[rank][region] = handed;
    return origin[rank][region] === handed;
  };

  return regions.map(({ count }, rank) =>
    Uint8Array.from({ length: count }, (_, region) =>
      origin[rank][region] !== still && isStill(rank, region) ? 1 : 0,
    ),
  );
}

const [changing, still, received, handed] = [0, 1, 2, 3];

interface Write {
  readonly row: number;
  /** Position in the schedule's `operands` column. */
  readonly operand: number;
}

/** The only write of each region: none, or `many`. */
function writesOf(
  { ops, opBegin, problem }: Schedule,
  { rank, count, ofOperand }: RankRegions,
): (Write | "none" | "many")[] {
  const writes: (Write | "none" | "many")[] = new Array(count).fill("none");
  const written = writtenMasks(problem.pass === "backward");
  const firstOperand = ops.operandBegin[opBegin[rank]];
  for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
    const mask = written[ops.kind[row]];
    if (mask === 0) continue;
    const begin = ops.operandBegin[row];
    for (let operand = begin; operand < ops.operandBegin[row + 1]; operand++) {
      if (!isSet(mask, operand - begin)) continue;
      const region = ofOperand[operand - firstOperand];
      writes[region] = writes[region] === "none" ? { row, operand } : "many";
    }
  }
  return writes;
}

/** What each region is before its data is followed: still (an unwritten input of its owner), received, or changing. */
function originsOf(schedule: Schedule, regions: RankRegions, writes: readonly (Write | "none" | "many")[]): Uint8Array {
  const { ops, blocks, tensors } = schedule;
  const owned = new Uint8Array(regions.count);
  for (const { region } of regions.owned) owned[region] = 1;
  const recv = opKinds.indexOf("recv");
  return Uint8Array.from(writes, (write, region) => {
    if (tensors[regions.tensor[region]].role !== "input" || write === "many") return changing;
    if (owned[region] === 1) return write === "none" ? still : changing;
    if (write === "none" || ops.kind[write.row] !== recv) return changing;
    const id = ops.operands[write.operand];
    const covers =
      blocks.tokenBegin[id] === regions.tokenBegin[region] &&
      blocks.tokenEnd[id] === regions.tokenEnd[region] &&
      blocks.headBegin[id] === regions.headBegin[region] &&
      blocks.headEnd[id] === regions.headEnd[region];
    return covers ? received : changing;
  });
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
