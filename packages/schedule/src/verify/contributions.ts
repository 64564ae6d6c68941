import { GrowingColumn } from "../column.ts";
import { opKinds, type TileMask, tileMasks } from "../op.ts";
import type { Schedule } from "../schedule.ts";
import { empty } from "./held.ts";

/** A sum that is held, but to which nothing was added yet. */
export const zero = 1;

/** What a tile adds to. A fused forward tile adds to o and lse, a backward one to dq, dk and dv. */
export const slots = ["o", "lse", "dq", "dk", "dv"] as const;
export type Slot = (typeof slots)[number];

/** A computed piece of attention: queries by keys by query heads, under a mask. */
export interface ComputedTile {
  /** The attend or score op that computed its pairs. */
  readonly row: number;
  readonly qBegin: number;
  readonly qEnd: number;
  readonly kBegin: number;
  readonly kEnd: number;
  /** Query heads. */
  readonly headBegin: number;
  readonly headEnd: number;
  readonly mask: TileMask;
}

export const bitOf = (slot: Slot): number => 1 << slots.indexOf(slot);

/** How far an unfused s block is: scores, probabilities after `softmax`, or their gradient after a backward `weigh`. */
export type ScoreStage = "scores" | "probabilities" | "gradient";
const stages: readonly ScoreStage[] = ["scores", "probabilities", "gradient"];

/** What is known of an s block: the `score` op that made it, and the `softmax` op that it went through (or -1). */
export interface ScoreContent {
  readonly row: number;
  readonly softmax: number;
  readonly stage: ScoreStage;
}

const [appended, joined, clipped, scores] = [0, 1, 2, 3];

/**
 * Contents of held blocks. `empty` is 0, an input tensor t is -1 - t, all others are rows of this table: the tiles that
 * flowed into an accumulator, as a graph that only grows. Adding a tile to a block, or one partial sum to another, makes one
 * row, whatever they hold already, and blocks that are sent share their rows with the receiver.
 */
export class Contributions {
  readonly tiles: ComputedTile[] = [];
  /** The slots each tile adds to. */
  readonly tileSlots: number[] = [];
  readonly #kind = new GrowingColumn(Uint8Array);
  /** appended: content before, tile. joined: two contents. clipped: content, head range. scores: row, softmax. */
  readonly #left = new GrowingColumn(Int32Array);
  readonly #right = new GrowingColumn(Int32Array);
  /** The softmax op of a sum of unfused products, else -1; the stage of scores. */
  readonly #extra = new GrowingColumn(Int32Array);
  /** Bits of the slots whose numbers were added up. */
  readonly #slots = new GrowingColumn(Uint8Array);

  constructor() {
    // Row 0 stands for `empty`, row 1 for `zero`.
    this.#make(joined, empty, empty, -1, 0);
    this.#make(joined, empty, empty, -1, 0);
  }

  /** Registers a tile, so that it can be appended; `addsTo` are the bits of its slots. */
  tile(tile: ComputedTile, addsTo: number): number {
    this.tiles.push(tile);
    this.tileSlots.push(addsTo);
    return this.tiles.length - 1;
  }

  /** Adds a tile's numbers for some slots to a sum; `softmax` is the op that scaled them, if they must be scaled alike. */
  append(content: number, tile: number, slotBits: number, softmax = -1): number {
    return this.#make(appended, content, tile, softmax, slotBits | this.slotsOf(content));
  }

  join(a: number, b: number): number {
    if (a <= zero) return b;
    return b <= zero ? a : this.#make(joined, a, b, -1, this.slotsOf(a) | this.slotsOf(b));
  }

  /** The content, but only for the query heads given. */
  clip(content: number, headBegin: number, headEnd: number): number {
    return this.#make(clipped, content, headBegin * 65536 + headEnd - 2 ** 31, -1, this.slotsOf(content));
  }

  scores({ row, softmax, stage }: ScoreContent): number {
    return this.#make(scores, row, softmax, stages.indexOf(stage), 0);
  }

  scoresOf(content: number): ScoreContent | undefined {
    if (content <= empty || this.#kind.at(content) !== scores) return undefined;
    return { row: this.#left.at(content), softmax: this.#right.at(content), stage: stages[this.#extra.at(content)] };
  }

  /** Bits of the slots whose numbers are in a sum; 0 for anything else. */
  slotsOf(content: number): number {
    return content > empty ? this.#slots.at(content) : 0;
  }

  /** The softmax op whose products were added up to this sum, if that is all it is. */
  softmaxOf(content: number): number {
    return content > empty ? this.#extra.at(content) : -1;
  }

  /** Calls `visit` for each tile in a sum, with the query heads for which it is there, as often as it was added. */
  forEachTile(
    content: number,
    headBegin: number,
    headEnd: number,
    visit: (tile: number, headBegin: number, headEnd: number) => void,
  ): void {
    const waiting: number[] = [content, headBegin, headEnd];
    while (waiting.length > 0) {
      const to = waiting.pop() as number;
      const from = waiting.pop() as number;
      let at = waiting.pop() as number;
      while (at > empty && this.#kind.at(at) === appended) {
        visit(this.#right.at(at), from, to);
        at = this.#left.at(at);
      }
      if (at <= empty) continue;
      if (this.#kind.at(at) === joined) waiting.push(this.#left.at(at), from, to, this.#right.at(at), from, to);
      else if (this.#kind.at(at) === clipped) {
        const heads = this.#right.at(at) + 2 ** 31;
        const [begin, end] = [Math.max(from, Math.floor(heads / 65536)), Math.min(to, heads % 65536)];
        if (begin < end) waiting.push(this.#left.at(at), begin, end);
      }
    }
  }

  /** Whether both are sums of the same tiles. */
  haveSameTiles(a: number, b: number, headBegin: number, headEnd: number): boolean {
    if (a === b) return true;
    return this.#fingerprint(a, headBegin, headEnd) === this.#fingerprint(b, headBegin, headEnd);
  }

  #fingerprint(content: number, headBegin: number, headEnd: number): string {
    const keys: string[] = [];
    this.forEachTile(content, headBegin, headEnd, (tile, from, to) => {
      const { row, qBegin, qEnd, kBegin, kEnd } = this.tiles[tile];
      keys.push([row, qBegin, qEnd, kBegin, kEnd, from, to].join(" "));
    });
    return keys.sort().join();
  }

  #make(kind: number, left: number, right: number, extra: number, slotBits: number): number {
    this.#kind.push(kind);
    this.#left.push(left);
    this.#right.push(right);
    this.#extra.push(extra);
    this.#slots.push(slotBits);
    return this.#kind.length - 1;
  }
}

/** The tile that an attend or score op computes. */
export function tileOf({ ops, blocks }: Schedule, row: number): ComputedTile {
  const q = ops.operands[ops.operandBegin[row]];
  const k = ops.operands[ops.operandBegin[row] + 1];
  return {
    row,
    qBegin: blocks.tokenBegin[q],
    qEnd: blocks.tokenEnd[q],
    kBegin: blocks.tokenBegin[k],
    kEnd: blocks.tokenEnd[k],
    headBegin: blocks.headBegin[q],
    headEnd: blocks.headEnd[q],
    mask: tileMasks[ops.attribute[row]],
  };
}

export const isTile = ({ ops }: Schedule, row: number): boolean =>
  opKinds[ops.kind[row]] === "attend" || opKinds[ops.kind[row]] === "score";
