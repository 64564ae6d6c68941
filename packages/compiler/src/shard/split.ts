import type { Problem } from "@hsap/schedule";
import type { Hierarchy } from "../hierarchy.ts";
import { PieceList } from "../piece.ts";
import { maskOf, rowArea } from "./row-area.ts";
import type { Sharding } from "./shard.ts";

/** Pieces by node, in two parts. */
export interface SplitNodes {
  /** Documents whose heads the lanes of a unit divide. */
  readonly split: Sharding;
  /** Documents that are attended with all heads by whoever owns their queries. */
  readonly whole: Sharding;
}

/**
 * Pass 1b, whose heads are split: the documents that several nodes hold, and in each node those heavier than `above` times what
 * a rank still has room for, the heaviest first. Splitting heads costs two all-to-alls of a document's rows in the node, and
 * divides its work evenly among all ranks; without it each rank needs the keys of the others. So it pays for documents
 * that many ranks would have to share; documents that fit a rank whole cost nothing as they are.
 *
 * @param ranks the hierarchy in which every rank is a unit.
 * @param above share of a rank's tokens or area; 0 splits every document, infinity only those that several nodes hold.
 */
export function splitNodes(problem: Problem, nodes: Sharding, ranks: Hierarchy, above: number): SplitNodes {
  const spans = spansNodes(problem, nodes);
  const parts = [new PieceList(nodes.pieces.begin.length), new PieceList(nodes.pieces.begin.length)];
  const begins = parts.map(() => new Int32Array(nodes.pieceBegin.length));
  const { document, begin, end } = nodes.pieces;
  for (let node = 0; node + 1 < nodes.pieceBegin.length; node++) {
    const isSplit = splitPieces(problem, nodes, node, ranks.unitBegin[node + 1] - ranks.unitBegin[node], above, spans);
    for (let row = nodes.pieceBegin[node]; row < nodes.pieceBegin[node + 1]; row++) {
      parts[isSplit[row - nodes.pieceBegin[node]] === 1 ? 0 : 1].push(document[row], begin[row], end[row]);
    }
    parts.forEach((part, i) => {
      begins[i][node + 1] = part.length;
    });
  }
  const [split, whole] = parts.map((part, i) => ({ pieceBegin: begins[i], pieces: part.finish() }));
  return { split, whole };
}

/** What nodes have, by the nodes of `hierarchy`, whose units may be several nodes. */
export function joinNodes(nodes: Sharding, ranks: Hierarchy, hierarchy: Hierarchy): Sharding {
  const pieceBegin = Int32Array.from(hierarchy.unitBegin, (unit) => {
    const node = ranks.unitBegin.findIndex((rank) => rank >= unit * hierarchy.ulysses);
    return nodes.pieceBegin[node];
  });
  return { pieceBegin, pieces: nodes.pieces };
}

/** Whether more than one node holds a document (1), by document. */
function spansNodes({ batch }: Problem, { pieceBegin, pieces }: Sharding): Uint8Array {
  const nodeOf = new Int32Array(batch.cuSeqlens.length - 1).fill(-1);
  const spans = new Uint8Array(nodeOf.length);
  for (let node = 0; node + 1 < pieceBegin.length; node++) {
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      const document = pieces.document[row];
      if (nodeOf[document] >= 0 && nodeOf[document] !== node) spans[document] = 1;
      nodeOf[document] = node;
    }
  }
  return spans;
}

/** Which pieces of a node are split (1), in their order. */
function splitPieces(
  problem: Problem,
  { pieceBegin, pieces: { document, begin, end } }: Sharding,
  node: number,
  ranks: number,
  above: number,
  spans: Uint8Array,
): Uint8Array {
  const [first, past] = [pieceBegin[node], pieceBegin[node + 1]];
  const isSplit = new Uint8Array(past - first);
  if (above === 0) return isSplit.fill(1);
  const mask = maskOf(problem);
  const area = new Float64Array(past - first);
  let [tokensLeft, areaLeft] = [0, 0];
  for (let row = first; row < past; row++) {
    area[row - first] = rowArea(mask, document[row], begin[row], end[row]);
    tokensLeft += (end[row] - begin[row]) / ranks;
    areaLeft += area[row - first] / ranks;
  }
  const take = (row: number) => {
    isSplit[row - first] = 1;
    tokensLeft -= (end[row] - begin[row]) / ranks;
    areaLeft -= area[row - first] / ranks;
  };
  for (let row = first; row < past; row++) if (spans[document[row]] === 1) take(row);
  if (above === Number.POSITIVE_INFINITY) return isSplit;
  // Documents that could be too heavy; the room for them only shrinks, so all that are must be among the heaviest.
  const [tokensOfRank, areaOfRank] = [tokensLeft, areaLeft];
  const weight = (row: number) => Math.max((end[row] - begin[row]) / tokensOfRank, area[row - first] / areaOfRank);
  const heaviest = Array.from({ length: past - first }, (_, i) => first + i)
    .filter((row) => isSplit[row - first] === 0)
    .sort((a, b) => weight(b) - weight(a) || begin[a] - begin[b]);
  for (const row of heaviest) {
    if (end[row] - begin[row] <= above * tokensLeft && area[row - first] <= above * areaLeft) break;
    take(row);
  }
  return isSplit;
}
