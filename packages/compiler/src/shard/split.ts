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
 */
export class HeadSplitter {
  readonly #area: Float64Array;
  /** Whether several nodes hold a row's document (1). */
  readonly #spans: Uint8Array;
  readonly #known = new Map<number, SplitNodes>();

  /** @param ranks the hierarchy in which every rank is a unit. */
  constructor(
    problem: Problem,
    readonly nodes: Sharding,
    readonly ranks: Hierarchy,
  ) {
    const { document, begin, end } = nodes.pieces;
    const mask = maskOf(problem);
    this.#area = new Float64Array(document.length);
    for (let row = 0; row < document.length; row++) {
      this.#area[row] = rowArea(mask, document[row], begin[row], end[row]);
    }
    this.#spans = spansNodes(problem, nodes);
  }

  /** @param above share of a rank's tokens or area; 0 splits every document, infinity only those that several nodes hold. */
  split(above: number): SplitNodes {
    let split = this.#known.get(above);
    if (split === undefined) {
      split = divided(this.nodes, this.#splitRows(above));
      this.#known.set(above, split);
    }
    return split;
  }

  /** Which rows are split (1). */
  #splitRows(above: number): Uint8Array {
    if (above === Number.POSITIVE_INFINITY) return this.#spans;
    if (above === 0) return new Uint8Array(this.#spans.length).fill(1);
    const isSplit = this.#spans.slice();
    for (let node = 0; node + 1 < this.nodes.pieceBegin.length; node++) this.#splitHeaviest(node, above, isSplit);
    return isSplit;
  }

  #splitHeaviest(node: number, above: number, isSplit: Uint8Array): void {
    const { pieceBegin, pieces } = this.nodes;
    const { begin, end } = pieces;
    const area = this.#area;
    const ranks = this.ranks.unitBegin[node + 1] - this.ranks.unitBegin[node];
    const [first, past] = [pieceBegin[node], pieceBegin[node + 1]];
    // What is left for each rank when the documents that are split are gone.
    let [tokensLeft, areaLeft] = [0, 0];
    for (let row = first; row < past; row++) {
      if (isSplit[row] === 1) continue;
      tokensLeft += (end[row] - begin[row]) / ranks;
      areaLeft += area[row] / ranks;
    }
    const [tokensOfRank, areaOfRank] = [tokensLeft, areaLeft];
    // Few are taken: each is more than a share of what is left, so looking for the next one is cheaper than sorting all.
    for (;;) {
      let heaviest = -1;
      let most = 0;
      for (let row = first; row < past; row++) {
        if (isSplit[row] === 1) continue;
        const weight = Math.max((end[row] - begin[row]) / tokensOfRank, area[row] / areaOfRank);
        if (weight < most || (weight === most && heaviest >= 0 && begin[heaviest] < begin[row])) continue;
        heaviest = row;
        most = weight;
      }
      if (heaviest < 0) return;
      const tokens = end[heaviest] - begin[heaviest];
      if (tokens <= above * tokensLeft && area[heaviest] <= above * areaLeft) return;
      isSplit[heaviest] = 1;
      tokensLeft -= tokens / ranks;
      areaLeft -= area[heaviest] / ranks;
    }
  }
}

/** The pieces of nodes in two parts: rows that are split, and the others. */
function divided({ pieceBegin, pieces: { document, begin, end } }: Sharding, isSplit: Uint8Array): SplitNodes {
  const parts = [new PieceList(document.length + 1), new PieceList(document.length + 1)];
  const begins = parts.map(() => new Int32Array(pieceBegin.length));
  for (let node = 0; node + 1 < pieceBegin.length; node++) {
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      parts[1 - isSplit[row]].push(document[row], begin[row], end[row]);
    }
    for (let part = 0; part < 2; part++) begins[part][node + 1] = parts[part].length;
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

/** Whether more than one node holds a piece's document (1), by piece. */
function spansNodes({ batch }: Problem, { pieceBegin, pieces: { document } }: Sharding): Uint8Array {
  const nodeOf = new Int32Array(batch.cuSeqlens.length - 1).fill(-1);
  const several = -2;
  for (let node = 0; node + 1 < pieceBegin.length; node++) {
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      const of = nodeOf[document[row]];
      nodeOf[document[row]] = of === -1 || of === node ? node : several;
    }
  }
  const spans = new Uint8Array(document.length);
  for (let row = 0; row < document.length; row++) spans[row] = nodeOf[document[row]] === several ? 1 : 0;
  return spans;
}
