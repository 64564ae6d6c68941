import { opKinds, type Schedule, tileArea, tileMasks, tilesBetween, wireBytesOf, worldSizeOf } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";

/** What a schedule does that nobody needs, counted op by op. */
export interface Waste {
  /** (query, key, head) triples that tiles compute across document borders, or against the mask. */
  readonly contaminatedArea: number;
  /** Bytes of inputs that ranks receive although no op of theirs computes with those rows: sent for nothing, or to be passed on. */
  readonly unneededBytes: number;
}

/** Counts the waste of a schedule. What unfused scores compute and mask afterwards is no contamination. */
export const wasteOf = (schedule: Schedule): Waste => ({
  contaminatedArea: contaminatedAreaOf(schedule),
  unneededBytes: unneededBytesOf(schedule),
});

function contaminatedAreaOf({ ops, blocks, problem }: Schedule): number {
  const attend = opKinds.indexOf("attend");
  let area = 0;
  for (let row = 0; row < ops.kind.length; row++) {
    if (ops.kind[row] !== attend) continue;
    const [q, k] = [ops.operands[ops.operandBegin[row]], ops.operands[ops.operandBegin[row] + 1]];
    const queries = { begin: blocks.tokenBegin[q], end: blocks.tokenEnd[q] };
    const keys = { begin: blocks.tokenBegin[k], end: blocks.tokenEnd[k] };
    const mask = tileMasks[ops.attribute[row]] === "causal" ? "causal" : "full";
    const computed = tileArea({
      ...{ qBegin: queries.begin, qEnd: queries.end, kBegin: keys.begin, kEnd: keys.end, mask },
    });
    const right = tilesBetween(problem.batch, problem.mask, queries, keys).reduce(
      (sum, tile) => sum + tileArea(tile),
      0,
    );
    area += (computed - right) * (blocks.headEnd[q] - blocks.headBegin[q]);
  }
  return area;
}

function unneededBytesOf(schedule: Schedule): number {
  const { tensors } = schedule;
  const inputs = tensors.flatMap(({ role }, tensor) => (role === "input" ? [tensor] : []));
  let bytes = 0;
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    for (const tensor of inputs) bytes += unusedRows(schedule, rank, tensor) * wireBytesOf(tensors[tensor]);
  }
  return bytes;
}

/** Rows times heads of `tensor` that the rank receives and no op of its computation lane names, of any head. */
function unusedRows({ ops, opBegin, blocks, problem }: Schedule, rank: number, tensor: number): number {
  const [send, recv] = [opKinds.indexOf("send"), opKinds.indexOf("recv")];
  const used = new Uint8Array(tokensOf(problem.batch));
  const received: number[] = [];
  for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
    const kind = ops.kind[row];
    if (kind === send) continue;
    for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) {
      const block = ops.operands[i];
      if (blocks.tensor[block] !== tensor) continue;
      if (kind === recv) received.push(block);
      else used.fill(1, blocks.tokenBegin[block], blocks.tokenEnd[block]);
    }
  }
  let unused = 0;
  for (const block of received) {
    const heads = blocks.headEnd[block] - blocks.headBegin[block];
    for (let token = blocks.tokenBegin[block]; token < blocks.tokenEnd[block]; token++)
      unused += (1 - used[token]) * heads;
  }
  return unused;
}
