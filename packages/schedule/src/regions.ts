import { type Block, formatBlock } from "./block.ts";
import { GrowingColumn } from "./column.ts";
import { homeBlocks, type Schedule, worldSizeOf } from "./schedule.ts";

/**
 * The resident pieces of one rank: bounding boxes of the blocks of one (tensor, part) that overlap one another. Every
 * operand lies in exactly one region, and two regions of one (tensor, part) never overlap.
 */
export interface RankRegions {
  readonly rank: number;
  readonly count: number;
  readonly tensor: Int32Array;
  readonly part: Int32Array;
  readonly tokenBegin: Int32Array;
  readonly tokenEnd: Int32Array;
  readonly headBegin: Int32Array;
  readonly headEnd: Int32Array;
  /** Region of each operand of the rank's ops, in the order of the schedule's `operands` column. */
  readonly ofOperand: Int32Array;
  /**
   * What lies in each region before the first op (inputs) or after the last (outputs): the layout's ranges and what is
   * resident. They do not join regions: a rank may use some heads of all rows, and of its own rows the others as well.
   */
  readonly owned: readonly OwnedRange[];
}

export interface OwnedRange {
  readonly region: number;
  readonly tensor: number;
  readonly tokenBegin: number;
  readonly tokenEnd: number;
}

/** Position in the schedule's `operands` column of the first operand of `rank`. */
export const firstOperandOf = ({ ops, opBegin }: Schedule, rank: number): number => ops.operandBegin[opBegin[rank]];

/** Makes the regions of one rank after another, with scratch space that they share. */
export function regionMaker(schedule: Schedule): (rank: number) => RankRegions {
  const { blocks, ops, opBegin } = schedule;
  const rectangleOfBlock = new Int32Array(blocks.tensor.length).fill(-1);
  const rectangles = new RectangleSet();

  return (rank) => {
    if (!(rank >= 0 && rank < worldSizeOf(schedule))) throw new RangeError(`invalid rank: ${rank}`);
    rectangles.clear();
    const operandBegin = ops.operandBegin[opBegin[rank]];
    const operandEnd = ops.operandBegin[opBegin[rank + 1]];
    const seen: number[] = [];
    for (let i = operandBegin; i < operandEnd; i++) {
      const id = ops.operands[i];
      if (rectangleOfBlock[id] >= 0) continue;
      seen.push(id);
      rectangleOfBlock[id] = rectangles.add(
        blocks.tensor[id],
        blocks.part[id],
        blocks.tokenBegin[id],
        blocks.tokenEnd[id],
        blocks.headBegin[id],
        blocks.headEnd[id],
      );
    }
    const { boxOf, ...boxes } = rectangles.boxes();
    const ofOperand = new Int32Array(operandEnd - operandBegin);
    for (let i = operandBegin; i < operandEnd; i++)
      ofOperand[i - operandBegin] = boxOf[rectangleOfBlock[ops.operands[i]]];
    // Programs written by a builder share no blocks between ranks, but nothing forbids it.
    for (const id of seen) rectangleOfBlock[id] = -1;
    return { rank, ...boxes, ofOperand, owned: ownedRanges(schedule, rank, boxes) };
  };
}

function ownedRanges(
  schedule: Schedule,
  rank: number,
  boxes: Omit<RankRegions, "rank" | "ofOperand" | "owned">,
): OwnedRange[] {
  const homes = schedule.tensors.map(({ name }) => [...homeBlocks(schedule, rank, name)].sort(byTokenBegin));
  // Boxes of one tensor are sorted by tokenBegin too, so what ended before one of them is never looked at again.
  const passed = new Int32Array(homes.length);
  const owned: OwnedRange[] = [];
  for (let region = 0; region < boxes.count; region++) {
    if (boxes.part[region] !== 0) continue;
    const tensor = boxes.tensor[region];
    const there = homes[tensor];
    while (there[passed[tensor]]?.tokenEnd <= boxes.tokenBegin[region]) passed[tensor]++;
    for (let i = passed[tensor]; i < there.length && there[i].tokenBegin < boxes.tokenEnd[region]; i++) {
      const home = there[i];
      const tokenBegin = Math.max(home.tokenBegin, boxes.tokenBegin[region]);
      const tokenEnd = Math.min(home.tokenEnd, boxes.tokenEnd[region]);
      if (tokenBegin >= tokenEnd) continue;
      if (home.headBegin >= boxes.headEnd[region] || boxes.headBegin[region] >= home.headEnd) continue;
      if (home.headBegin > boxes.headBegin[region] || home.headEnd < boxes.headEnd[region]) {
        throw new Error(`rank ${rank} uses more heads than are resident: ${formatBlock(home)}`);
      }
      owned.push({ region, tensor, tokenBegin, tokenEnd });
    }
  }
  return owned;
}

const byTokenBegin = (a: Block, b: Block): number => a.tokenBegin - b.tokenBegin;

// Token begins are below 2^31, so a position below 2^22 can share an exact double with one and be sorted natively.
const positionsPerKey = 2 ** 22;

/** Rectangles (tokens by heads) of many (tensor, part) families, and the bounding boxes of those that overlap. */
class RectangleSet {
  readonly #families = new Map<number, number[]>();
  readonly #tokenBegin = new GrowingColumn(Int32Array);
  readonly #tokenEnd = new GrowingColumn(Int32Array);
  readonly #headBegin = new GrowingColumn(Int32Array);
  readonly #headEnd = new GrowingColumn(Int32Array);

  /** Forgets all rectangles but keeps their space. */
  clear(): void {
    this.#families.clear();
    this.#tokenBegin.clear();
    this.#tokenEnd.clear();
    this.#headBegin.clear();
    this.#headEnd.clear();
  }

  add(tensor: number, part: number, tokenBegin: number, tokenEnd: number, headBegin: number, headEnd: number): number {
    const key = part * 256 + tensor;
    const id = this.#tokenBegin.length;
    const family = this.#families.get(key);
    if (family === undefined) this.#families.set(key, [id]);
    else {
      // Programs often name the same block in one op after another.
      const last = family[family.length - 1];
      const isSame =
        this.#tokenBegin.at(last) === tokenBegin &&
        this.#tokenEnd.at(last) === tokenEnd &&
        this.#headBegin.at(last) === headBegin &&
        this.#headEnd.at(last) === headEnd;
      if (isSame) return last;
      family.push(id);
    }
    this.#tokenBegin.push(tokenBegin);
    this.#tokenEnd.push(tokenEnd);
    this.#headBegin.push(headBegin);
    this.#headEnd.push(headEnd);
    return id;
  }

  boxes(): Omit<RankRegions, "rank" | "ofOperand" | "owned"> & { boxOf: Int32Array } {
    const boxOf = new Int32Array(this.#tokenBegin.length);
    const found = new Boxes();
    for (const key of [...this.#families.keys()].sort((a, b) => (a % 256) - (b % 256) || a - b)) {
      const ordered = this.#byTokenBegin(this.#families.get(key) as number[]);
      const first = found.begin(key % 256, Math.floor(key / 256));
      for (let i = 0; i < ordered.length; i++) {
        const id = ordered[i];
        boxOf[id] = found.include(
          this.#tokenBegin.at(id),
          this.#tokenEnd.at(id),
          this.#headBegin.at(id),
          this.#headEnd.at(id),
        );
      }
      const renumbered = found.settle(first);
      for (let i = 0; i < ordered.length; i++) boxOf[ordered[i]] = renumbered[boxOf[ordered[i]] - first];
    }
    return { boxOf, ...found.columns() };
  }

  #byTokenBegin(family: number[]): ArrayLike<number> {
    const begins = this.#tokenBegin;
    let sorted = true;
    for (let i = 1; i < family.length && sorted; i++) sorted = begins.at(family[i - 1]) <= begins.at(family[i]);
    if (sorted) return family;
    if (family.length >= positionsPerKey) return family.sort((a, b) => begins.at(a) - begins.at(b));
    const keys = new Float64Array(family.length);
    for (let i = 0; i < keys.length; i++) keys[i] = begins.at(family[i]) * positionsPerKey + i;
    keys.sort();
    const ordered = new Int32Array(keys.length);
    for (let i = 0; i < keys.length; i++) ordered[i] = family[keys[i] % positionsPerKey];
    return ordered;
  }
}

/**
 * Bounding boxes found by a sweep over tokens. The boxes that still reach the sweep's position are `active`; a new
 * rectangle can overlap only those. When a box grows in heads it may come to overlap one that the sweep has left behind,
 * so the sweep then runs again over the boxes themselves, until none grows.
 */
class Boxes {
  readonly #tensor: number[] = [];
  readonly #part: number[] = [];
  readonly #tokenBegin: number[] = [];
  readonly #tokenEnd: number[] = [];
  readonly #headBegin: number[] = [];
  readonly #headEnd: number[] = [];
  /** The box that has swallowed this one, or itself. Always the earliest of them, so boxes stay ordered by tokenBegin. */
  #parent: number[] = [];
  #active: number[] = [];
  #grewInHeads = false;
  #family = { tensor: 0, part: 0 };

  /** Starts a new (tensor, part); returns the number of its first box. */
  begin(tensor: number, part: number): number {
    this.#family = { tensor, part };
    this.#active = [];
    this.#grewInHeads = false;
    return this.#tensor.length;
  }

  /** Adds a rectangle that begins no earlier than any before it; returns its box for now. */
  include(tokenBegin: number, tokenEnd: number, headBegin: number, headEnd: number): number {
    const box = this.#tensor.length;
    this.#tensor.push(this.#family.tensor);
    this.#part.push(this.#family.part);
    this.#tokenBegin.push(tokenBegin);
    this.#tokenEnd.push(tokenEnd);
    this.#headBegin.push(headBegin);
    this.#headEnd.push(headEnd);
    this.#parent.push(box);
    const joined = this.#join(box);
    // A rectangle that went into another box leaves no row behind.
    if (joined !== box) this.#dropLast();
    return joined;
  }

  /** Ends the family that began with box `first`: returns the final box of each box handed out by `include`. */
  settle(first: number): Int32Array {
    const end = this.#tensor.length;
    while (this.#grewInHeads) {
      this.#grewInHeads = false;
      this.#active = [];
      for (let box = first; box < end; box++) if (this.#parent[box] === box) this.#join(box);
    }
    const renumbered = new Int32Array(end - first);
    let next = first;
    for (let box = first; box < end; box++) {
      if (this.#parent[box] === box) {
        this.#move(box, next);
        renumbered[box - first] = next++;
      } else renumbered[box - first] = renumbered[this.#root(box) - first];
    }
    while (this.#tensor.length > next) this.#dropLast();
    for (let box = first; box < next; box++) this.#parent[box] = box;
    return renumbered;
  }

  columns(): Omit<RankRegions, "rank" | "ofOperand" | "owned"> {
    return {
      count: this.#tensor.length,
      tensor: new Int32Array(this.#tensor),
      part: new Int32Array(this.#part),
      tokenBegin: new Int32Array(this.#tokenBegin),
      tokenEnd: new Int32Array(this.#tokenEnd),
      headBegin: new Int32Array(this.#headBegin),
      headEnd: new Int32Array(this.#headEnd),
    };
  }

  /** Joins `box` with every active box that it overlaps; returns the one that remains. */
  #join(box: number): number {
    const position = this.#tokenBegin[box];
    let joined = box;
    let kept = 0;
    for (const other of this.#active) if (this.#tokenEnd[other] > position) this.#active[kept++] = other;
    this.#active.length = kept;
    for (let i = 0; i < this.#active.length; ) {
      const other = this.#active[i];
      if (this.#headBegin[joined] >= this.#headEnd[other] || this.#headBegin[other] >= this.#headEnd[joined]) {
        i++;
        continue;
      }
      this.#active.splice(i, 1);
      const grew = this.#swallow(Math.min(joined, other), Math.max(joined, other));
      joined = Math.min(joined, other);
      // With more heads it may overlap active boxes that were passed over.
      if (grew) i = 0;
    }
    this.#active.push(joined);
    return joined;
  }

  #swallow(into: number, box: number): boolean {
    const headBegin = Math.min(this.#headBegin[into], this.#headBegin[box]);
    const headEnd = Math.max(this.#headEnd[into], this.#headEnd[box]);
    const grew = headBegin !== this.#headBegin[into] || headEnd !== this.#headEnd[into];
    this.#grewInHeads ||= grew;
    this.#headBegin[into] = headBegin;
    this.#headEnd[into] = headEnd;
    this.#tokenBegin[into] = Math.min(this.#tokenBegin[into], this.#tokenBegin[box]);
    this.#tokenEnd[into] = Math.max(this.#tokenEnd[into], this.#tokenEnd[box]);
    this.#parent[box] = into;
    return grew;
  }

  #root(box: number): number {
    let root = box;
    while (this.#parent[root] !== root) root = this.#parent[root];
    this.#parent[box] = root;
    return root;
  }

  #move(from: number, to: number): void {
    this.#tokenBegin[to] = this.#tokenBegin[from];
    this.#tokenEnd[to] = this.#tokenEnd[from];
    this.#headBegin[to] = this.#headBegin[from];
    this.#headEnd[to] = this.#headEnd[from];
  }

  #dropLast(): void {
    this.#tensor.pop();
    this.#part.pop();
    this.#tokenBegin.pop();
    this.#tokenEnd.pop();
    this.#headBegin.pop();
    this.#headEnd.pop();
    this.#parent.pop();
  }
}
