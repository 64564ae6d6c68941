import type { Pass } from "@hsap/schedule";

/** The register tiles of an instruction set's kernels: rows of queries, and keys in one vector. */
export interface RegisterTile {
  readonly tileRows: number;
  readonly vectorKeys: number;
}

/** What a kernel does of one tile for the query heads of one kv head. */
export interface TileShape {
  readonly queries: number;
  readonly keys: number;
  /** Query i sees the keys before i + offset + 1; undefined if each sees all. */
  readonly causalOffset: number | undefined;
  /** Query heads of the tile that read the kv head. */
  readonly groupSize: number;
  readonly headDim: number;
}

/**
 * What the kernels' time is made of, in the order of their loops. Names ending in `Width` count elements of a row of headDim.
 * - `group`: tiles times kv heads;
 * - `keyWidth`: keys packed once for each block of queries' rows that keeps them;
 * - `strip`, `rowWidth`: register tiles of rows times blocks of keys that they see, and elements of those rows;
 * - `pair`, `pairWidth`: (row, key) pairs in whole vectors of keys, for exponentials and for products;
 * - `targetWidth`, `columnWidth` (backward): elements of dk and dv that are added to, and products along the rows.
 */
export const tileTerms = {
  forward: ["group", "keyWidth", "strip", "rowWidth", "pair", "pairWidth"],
  backward: ["group", "keyWidth", "strip", "rowWidth", "pair", "pairWidth", "targetWidth", "columnWidth"],
} as const satisfies Record<Pass, readonly string[]>;

/** How many of each of `tileTerms` one kv head of a tile takes. */
export function tileTermsOf(tile: TileShape, pass: Pass, registers: RegisterTile): number[] {
  return pass === "forward" ? forwardTerms(tile, registers) : backwardTerms(tile, registers);
}

/** Blocks of keys, and backward of rows, as the kernels cut them to stay in the second-level cache (forward.h, backward.h). */
const keyBlock = { forward: { elements: 49152, most: 384 }, backward: { elements: 24576, most: 256 } } as const;
const backwardRows = 144;
/** Fewer rows than this do not keep the multipliers busy. */
const leastRows = 4;

function forwardTerms(tile: TileShape, registers: RegisterTile): number[] {
  const { headDim } = tile;
  const size = keysPerBlock("forward", tile, registers);
  const [keys, rows] = [groupKeys(tile), tile.queries * tile.groupSize];
  let [strips, stripRows, pairs] = [0, 0, 0];
  for (let key = 0; key < keys; key += size) {
    const block = Math.min(size, keys - key);
    const first = firstRowThatSees(tile, key);
    const from = first - (first % registers.tileRows);
    strips += Math.ceil((rows - from) / registers.tileRows);
    stripRows += rows - from;
    pairs += paidPairs(tile, registers, { from, to: rows, key, keys: block });
  }
  return [1, keys * headDim, strips, stripRows * headDim, pairs, pairs * headDim];
}

function backwardTerms(tile: TileShape, registers: RegisterTile): number[] {
  const { headDim } = tile;
  const size = keysPerBlock("backward", tile, registers);
  const [keys, rows] = [groupKeys(tile), tile.queries * tile.groupSize];
  let [strips, blockRows, pairs, targets, columns] = [0, 0, 0, 0, 0];
  for (let key = 0; key < keys; key += size) {
    const block = Math.min(size, keys - key);
    const first = firstRowThatSees(tile, key);
    for (let row = first - (first % backwardRows); row < rows; row += backwardRows) {
      const end = Math.min(rows, row + backwardRows);
      const skipped = Math.max(0, first - row);
      const from = row + skipped - (skipped % registers.tileRows);
      strips += Math.ceil((end - from) / registers.tileRows);
      blockRows += end - from;
      pairs += paidPairs(tile, registers, { from, to: end, key, keys: block });
      const seen = Math.min(block, visibleKeys(tile, end - 1) - key);
      targets += seen;
      columns += pairsAlongRows(tile, registers, { from, to: end, key, keys: seen });
    }
  }
  const width = [pairs * headDim, targets * headDim, columns * headDim];
  return [1, keys * headDim, strips, blockRows * headDim, pairs, ...width];
}

interface Rectangle {
  readonly from: number;
  readonly to: number;
  readonly key: number;
  readonly keys: number;
}

/** Pairs of strips of rows with the whole vectors of keys that their last rows see. */
function paidPairs(tile: TileShape, registers: RegisterTile, { from, to, key, keys }: Rectangle): number {
  const { tileRows } = registers;
  const whole = roundUp(keys, registers.vectorKeys);
  let pairs = 0;
  for (let row = from; row < to; row += tileRows) {
    const end = Math.min(to, row + tileRows);
    const seen = Math.min(keys, visibleKeys(tile, end - 1) - key);
    // Whoever sees the whole block is followed only by rows that do.
    if (seen === keys) {
      const rest = to - row;
      const ragged = rest % tileRows;
      return pairs + (rest - ragged + (ragged === 0 ? 0 : Math.max(leastRows, ragged))) * whole;
    }
    pairs += Math.max(leastRows, end - row) * roundUp(Math.max(0, seen), registers.vectorKeys);
  }
  return pairs;
}

/** Pairs of register tiles of keys with the rows of a block from the first that sees them. */
function pairsAlongRows(tile: TileShape, { tileRows }: RegisterTile, { from, to, key, keys }: Rectangle): number {
  let pairs = 0;
  for (let first = 0; first < keys; first += tileRows) {
    const count = Math.max(leastRows, Math.min(tileRows, keys - first));
    pairs += count * (to - Math.max(from, firstRowThatSees(tile, key + first)));
  }
  return pairs;
}

function keysPerBlock(pass: Pass, { headDim, keys }: TileShape, { vectorKeys }: RegisterTile): number {
  const panel = 2 * vectorKeys;
  const { elements, most } = keyBlock[pass];
  const fitting = Math.floor(elements / roundUp(headDim, panel) / panel) * panel;
  return Math.min(Math.max(fitting, panel), most, roundUp(keys, panel));
}

/** Keys that the last row sees: all that the tile packs. */
const groupKeys = (tile: TileShape): number => visibleKeys(tile, tile.queries * tile.groupSize - 1);

function visibleKeys({ keys, causalOffset, groupSize }: TileShape, row: number): number {
  if (causalOffset === undefined) return keys;
  return Math.max(0, Math.min(keys, Math.floor(row / groupSize) + causalOffset + 1));
}

function firstRowThatSees({ causalOffset, groupSize }: TileShape, key: number): number {
  return causalOffset === undefined ? 0 : Math.max(0, key - causalOffset) * groupSize;
}

const roundUp = (count: number, multiple: number): number => Math.ceil(count / multiple) * multiple;
