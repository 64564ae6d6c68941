import { isLayerOp, type LayerOpKind, layerOpShapes, opKinds, type Schedule, wireBytesOf } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import type { Hardware } from "./hardware.ts";
import { copyUs } from "./kernel-time.ts";

const layerKinds: readonly (LayerOpKind | undefined)[] = opKinds.map((kind) => (isLayerOp(kind) ? kind : undefined));

/** Whether an op (an index into `opKinds`) is one of a layer's. */
export const isLayerKind = (kind: number): boolean => layerKinds[kind] !== undefined;

/** Floating-point operations of a layer's op on row `row`: 2 for each multiply-add of a matrix product, nothing for all others. */
export function matrixFlops({ ops, blocks, tensors }: Schedule, row: number): number {
  const kind = layerKinds[ops.kind[row]];
  if (kind !== "linear" && kind !== "linearInputGradient" && kind !== "linearWeightGradient") return 0;
  const [a, b] = [ops.operands[ops.operandBegin[row]], ops.operands[ops.operandBegin[row] + 1]];
  const columns = (id: number) => (blocks.headEnd[id] - blocks.headBegin[id]) * tensors[blocks.tensor[id]].width;
  const rows = (id: number) => blocks.tokenEnd[id] - blocks.tokenBegin[id];
  // x w and dy w': rows by the weight's elements; x' dy: the tokens by the columns of both.
  return kind === "linearWeightGradient" ? 2 * rows(a) * columns(a) * columns(b) : 2 * rows(a) * rows(b) * columns(b);
}

/** Whether two ops of a layer do the same to different rows: their tensors are the same, and so are blocks of weights and columns. */
export function isSameLayerCall({ ops, blocks, tensors }: Schedule, row: number, other: number): boolean {
  if (ops.kind[row] !== ops.kind[other]) return false;
  const [begin, otherBegin] = [ops.operandBegin[row], ops.operandBegin[other]];
  for (let i = 0; i < ops.operandBegin[row + 1] - begin; i++) {
    const [a, b] = [ops.operands[begin + i], ops.operands[otherBegin + i]];
    const isSame =
      blocks.tensor[a] === blocks.tensor[b] &&
      blocks.part[a] === blocks.part[b] &&
      blocks.headBegin[a] === blocks.headBegin[b] &&
      blocks.headEnd[a] === blocks.headEnd[b];
    if (!isSame) return false;
    if (tensors[blocks.tensor[a]].rows === undefined) continue;
    if (blocks.tokenBegin[a] !== blocks.tokenBegin[b] || blocks.tokenEnd[a] !== blocks.tokenEnd[b]) return false;
  }
  return true;
}

/**
 * Microseconds of a call of a layer's ops that do the same to different rows: their matrix product at the device's rate for those, or the
 * time to move the operands, weights once, whichever is longer. A target that accumulates is read and written.
 *
 * @throws InputError if the hardware has no rate of matrix products.
 */
export function layerCallUs(schedule: Schedule, begin: number, end: number, hardware: Hardware): number {
  const { device } = schedule.problem.cluster;
  let [flops, bytes] = [0, 0];
  for (let row = begin; row < end; row++) {
    flops += matrixFlops(schedule, row);
    bytes += movedBytes(schedule, row, row === begin);
  }
  if (flops > 0 && hardware.matrix === undefined)
    throw new InputError(
      `unknown rate: matrix products on ${device.name} (its hardware file has no matrix.shareOfPeak)`,
    );
  const productUs = flops === 0 ? 0 : flops / (1e6 * device.peakTflops * (hardware.matrix?.shareOfPeak ?? 1));
  return Math.max(productUs, copyUs(bytes, hardware, schedule.problem.cluster));
}

function movedBytes({ ops, blocks, tensors }: Schedule, row: number, withWeights: boolean): number {
  const kind = layerKinds[ops.kind[row]] as LayerOpKind;
  const begin = ops.operandBegin[row];
  let bytes = 0;
  for (let i = begin; i < ops.operandBegin[row + 1]; i++) {
    const id = ops.operands[i];
    const spec = tensors[blocks.tensor[id]];
    if (spec.rows !== undefined && !withWeights) continue;
    const rows = blocks.tokenEnd[id] - blocks.tokenBegin[id];
    const size = rows * (blocks.headEnd[id] - blocks.headBegin[id]) * wireBytesOf(spec);
    bytes += i - begin >= layerOpShapes[kind].reads && spec.accumulates ? 2 * size : size;
  }
  return bytes;
}
