import { nodesOf } from "@hsap/cluster";
import {
  type AttentionShape,
  bytesPerElement,
  flopsOf,
  type Mask,
  type Pass,
  type Problem,
  ranksOf,
} from "@hsap/schedule";
import { lengthsOf } from "@hsap/workload";

/** One document spread over devices that each compute an equal share of its area, heads unsplit. */
export interface SpreadDocument {
  /** Tokens. */
  readonly length: number;
  /** Ranks, or nodes for the traffic of their slow links. */
  readonly parts: number;
  readonly shape: AttentionShape;
  readonly mask: Mask;
  readonly pass: Pass;
}

/**
 * The least bytes that each part must receive on average for one document, however tiles are placed: with c_qo and c_kv bytes
 * for a token's query side and key side,
 *
 *     V >= 2 N sqrt(c_qo c_kv / (2 P)) - (N / P) (c_qo + c_kv)        (causal; without the 2 under the root for a full mask)
 *
 * A part that computes an area A touches a query rows and b key rows with a * b >= A, so a c_qo + b c_kv >= 2 sqrt(A c_qo c_kv);
 * of those it owns (N / P) (c_qo + c_kv). Forward, c_qo = 2 H d e (q, o) and c_kv = 2 Hkv d e (k, v); backward c_qo = 3 H d e
 * (q, do, dq) and c_kv = 4 Hkv d e (k, v, dk, dv). A strategy that splits heads, as Ulysses does, may go below it.
 */
export function documentBoundBytes({ length, parts, shape, mask, pass }: SpreadDocument): number {
  const { query, keyValue } = bytesPerToken(shape, pass);
  const area = mask === "causal" ? length ** 2 / 2 : length ** 2;
  const touched = 2 * Math.sqrt((area / parts) * query * keyValue);
  return Math.max(0, touched - (length / parts) * (query + keyValue));
}

/**
 * The least bytes that each rank must receive on average for the whole pack, if every rank computes an equal share of its area
 * and heads are not split. A rank may take at most its share of a document; as the root is concave, the cheapest division fills
 * as few ranks as that allows: a document of f shares costs floor(f) times the root of a whole share, and the root of the rest.
 * What is owned by those who touch it, at best all of the document, is taken off. Equals `documentBoundBytes` for one document.
 */
export const balancedBoundBytes = (problem: Problem): number => packBoundBytes(problem, ranksOf(problem));

/** The same for the slow links: the least bytes that must enter each node on average. 0 for one node. */
export const slowLinkBoundBytes = (problem: Problem): number => packBoundBytes(problem, nodesOf(problem.cluster));

/** The least time of the pass if all ranks compute an equal share at `teraflops` (1e12 a second each): no transfer, no imbalance. */
export const computeFloorMs = (problem: Problem, teraflops: number): number =>
  flopsOf(problem) / ranksOf(problem) / (teraflops * 1e9);

function packBoundBytes({ batch, shape, mask, pass }: Problem, parts: number): number {
  const { query, keyValue } = bytesPerToken(shape, pass);
  const areas = Array.from(lengthsOf(batch), (length) => (mask === "causal" ? length ** 2 / 2 : length ** 2));
  const share = areas.reduce((sum, area) => sum + area, 0) / parts;
  const touching = (area: number) => 2 * Math.sqrt(area * query * keyValue);
  let bytes = 0;
  lengthsOf(batch).forEach((length, document) => {
    // Rounding may leave a whole number of shares a hair below itself.
    const whole = Math.floor(areas[document] / share + 1e-9);
    const rest = Math.max(0, areas[document] - whole * share);
    bytes += Math.max(0, whole * touching(share) + touching(rest) - length * (query + keyValue));
  });
  return bytes / parts;
}

function bytesPerToken({ heads, kvHeads, headDim, dtype }: AttentionShape, pass: Pass) {
  const row = headDim * bytesPerElement[dtype];
  return pass === "forward"
    ? { query: 2 * heads * row, keyValue: 2 * kvHeads * row }
    : { query: 3 * heads * row, keyValue: 4 * kvHeads * row };
}
