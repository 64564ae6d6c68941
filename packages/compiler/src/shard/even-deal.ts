import type { Problem } from "@hsap/schedule";
import { KernelClock } from "../cost/kernel-time.ts";
import { PieceList, type Pieces } from "../piece.ts";
import type { Bins, Tolerance } from "./fill.ts";
import { type Mask, maskOf, rowArea } from "./row-area.ts";

/**
 * Deals many documents that are short beside their bins, so that not only tokens and area of the bins are even but also the time
 * that a kernel takes: it pays for a short document more than for its area, and with even tokens and area alone some bins have
 * several times as many documents as others.
 *
 * What is too heavy to leave a choice is cut first. Then pieces go, the heaviest first, to the bin that has least of what the piece
 * has most of: the least inner product of loads (vector bin packing, Panigrahy et al. 2011). At last pieces of like weight trade
 * places between bins, or one moves, wherever that brings the three sums of two bins nearer to their means. Tokens are held
 * loosely at first and ever tighter later, again and again, as simulated annealing does but without chance: pieces of short documents
 * settle tokens at the end, and hardly change anything else.
 */
export class EvenDeal {
  readonly #mask: Mask;
  readonly #clock: KernelClock;
  readonly #heads: number;
  readonly #parts = new PieceList();
  /** Of each part, as a share of what a bin of weight 1 should have. */
  readonly #loads: Loads = loadsOf(0);
  #bin = new Int32Array(0);

  constructor(problem: Problem) {
    this.#mask = maskOf(problem);
    // Both passes have to lie alike, so that one of them may follow the other.
    this.#clock = new KernelClock({ ...problem, pass: "forward" });
    this.#heads = problem.shape.heads;
  }

  /**
   * Deals rows of pieces, in the order of mean area per token, to bins by weight.
   *
   * @returns whether it did: not if there are too few pieces, or some too heavy, or the bins would not be within the tolerance.
   */
  deal(
    pieces: Pieces,
    rows: Int32Array,
    weights: readonly number[],
    tolerance: Tolerance,
    mayCut: boolean,
    out: Bins,
  ): boolean {
    if (weights.length === 1 || rows.length < fewestPerBin * weights.length) return false;
    const weight = weights.reduce((sum, of) => sum + of, 0);
    if (!this.#cut(pieces, rows, Math.min(...weights) / weight, mayCut)) return false;
    this.#weigh(weight);
    const excess = this.#assign(weights);
    this.#even(weights, tolerance, excess);
    if (!isWithin(excess, weights, tolerance, 1)) return false;
    for (let bin = 0; bin < weights.length; bin++) {
      out.binBegin.push(out.pieces.length);
      const { document, begin, end, length } = this.#parts;
      for (let i = 0; i < length; i++) if (this.#bin[i] === bin) out.pieces.push(document[i], begin[i], end[i]);
    }
    return true;
  }

  /** Lays out the pieces, heaviest first, those that are too heavy in parts of equal area; false if there is no use in it. */
  #cut({ document, begin, end }: Pieces, rows: Int32Array, share: number, mayCut: boolean): boolean {
    let [tokens, area] = [0, 0];
    for (const row of rows) {
      tokens += (end[row] - begin[row]) * share;
      area += rowArea(this.#mask, document[row], begin[row], end[row]) * share;
    }
    this.#parts.length = 0;
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i];
      const shares = rowArea(this.#mask, document[row], begin[row], end[row]) / area;
      const parts = Math.min(Math.ceil(shares / heaviest), end[row] - begin[row]);
      if (end[row] - begin[row] > tokens || shares > mostShares || (parts > 1 && !mayCut)) return false;
      let from = begin[row];
      for (let left = parts; left > 1; left--) {
        const to = this.#endOfPart(document[row], from, end[row], left);
        this.#parts.push(document[row], from, to);
        from = to;
      }
      this.#parts.push(document[row], from, end[row]);
    }
    return true;
  }

  /** Up to where rows from `begin` on have their share of the area if they are cut into so many parts, none of them empty. */
  #endOfPart(document: number, begin: number, end: number, parts: number): number {
    const area = rowArea(this.#mask, document, begin, end) / parts;
    let low = begin + 1;
    let high = end - (parts - 1);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (rowArea(this.#mask, document, begin, middle) < area) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #weigh(weight: number): void {
    const { document, begin, end, length } = this.#parts;
    const loads = this.#loads;
    if (this.#bin.length < length) {
      this.#bin = new Int32Array(2 * length);
      Object.assign(loads, loadsOf(2 * length));
    }
    const { cuSeqlens, isCausal } = this.#mask;
    let [tokens, area, time] = [0, 0, 0];
    for (let i = 0; i < length; i++) {
      const first = cuSeqlens[document[i]];
      const keysEnd = isCausal ? end[i] : cuSeqlens[document[i] + 1];
      loads.tokens[i] = end[i] - begin[i];
      loads.area[i] = rowArea(this.#mask, document[i], begin[i], end[i]);
      loads.time[i] = this.#clock.tileUs(begin[i], end[i], first, keysEnd, isCausal, this.#heads);
      if (begin[i] > first) loads.time[i] += callsOfArrival * this.#clock.launchUs;
      tokens += loads.tokens[i];
      area += loads.area[i];
      time += loads.time[i];
    }
    for (let i = 0; i < length; i++) {
      loads.tokens[i] *= weight / tokens;
      loads.area[i] *= weight / area;
      loads.time[i] *= weight / time;
    }
  }

  /** Gives each part to a bin, and returns what the bins then have beyond their weights. */
  #assign(weights: readonly number[]): Loads {
    const { tokens, area, time } = this.#loads;
    const has = loadsOf(weights.length);
    for (let i = 0; i < this.#parts.length; i++) {
      let best = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let bin = 0; bin < weights.length; bin++) {
        const product = has.tokens[bin] * tokens[i] + has.area[bin] * area[i] + has.time[bin] * time[i];
        if (product < least * weights[bin]) [best, least] = [bin, product / weights[bin]];
      }
      this.#bin[i] = best;
      has.tokens[best] += tokens[i];
      has.area[best] += area[i];
      has.time[best] += time[i];
    }
    weights.forEach((weight, bin) => {
      has.tokens[bin] -= weight;
      has.area[bin] -= weight;
      has.time[bin] -= weight;
    });
    return has;
  }

  /** Trades until all bins are well within the tolerance, or it is no use. */
  #even(weights: readonly number[], tolerance: Tolerance, excess: Loads): void {
    const trade = new Trade(this.#loads, this.#parts.length, this.#bin, excess);
    const affordable = Math.max(roundsOfCycle, mostTrades / (tradesTried * this.#parts.length));
    for (
      let round = 0;
      round < Math.min(mostRounds, affordable) && !isWithin(excess, weights, tolerance, 0.8);
      round++
    ) {
      const inCycle = round % roundsOfCycle;
      const first = 2 ** -Math.floor(round / roundsOfCycle);
      const loosened = (hottest: number) => Math.max(1, (first * hottest) / cooling ** (inCycle + 1));
      const heldTokens = 0.6 * tolerance.tokens * loosened(hottestTokens);
      trade.round(round, { tokens: heldTokens, area: 0.5 * tolerance.area * loosened(hottestArea), time: heldTime });
    }
  }
}

/** With fewer pieces a bin there is little choice; documents are then better cut where that closes bins exactly. */
const fewestPerBin = 16;
/** Parts have at most that share of a bin's area: heavier ones leave a bin room for nothing but many very short documents. */
const heaviest = 0.5;
/** A document of more bins than these is dealt better by filling bins one after the other. */
const mostShares = 9;
/**
 * What a part costs whose first keys come from elsewhere, in launches: a call of its own, tiles in two parts, and some waiting.
 */
const callsOfArrival = 2.5;
/** How far apart in weight parts trade, and how many trades each tries in a round. */
const reach = 20;
const tradesTried = 5;
/** Tokens and area are held tighter from round to round; each cycle begins half as loose as the one before. */
const mostRounds = 72;
const roundsOfCycle = 12;
/** Of tens of thousands of parts no more are tried, so that dealing them takes milliseconds too; there is one cycle at least. */
const mostTrades = 1e6;
const cooling = 1.5;
const hottestTokens = 64;
const hottestArea = 8;
/** What imbalance in time counts like one of 0.6 of the tolerance in tokens, or of 0.5 of that in area. */
const heldTime = 0.02;
/** Within this the time of all bins is even enough. */
const timeTolerance = 0.04;

/** Three columns of equal length. */
interface Loads {
  readonly tokens: Float64Array;
  readonly area: Float64Array;
  readonly time: Float64Array;
}

const loadsOf = (length: number): Loads => ({
  tokens: new Float64Array(length),
  area: new Float64Array(length),
  time: new Float64Array(length),
});

/** Whether bins keep to a share of the tolerances; below 1 to that of time too, which is wished for and not asked. */
function isWithin({ tokens, area, time }: Loads, weights: readonly number[], tolerance: Tolerance, of: number) {
  return weights.every(
    (weight, bin) =>
      Math.abs(tokens[bin]) <= of * tolerance.tokens * weight &&
      area[bin] <= of * tolerance.area * weight &&
      (of === 1 || time[bin] <= of * timeTolerance * weight),
  );
}

/** Moves parts between bins where the squares of what two bins have beyond their weights become less. */
class Trade {
  constructor(
    readonly loads: Loads,
    readonly length: number,
    readonly bin: Int32Array,
    readonly excess: Loads,
  ) {}

  /**
   * Each part tries to change places with some of those after it, and to move to one bin; other ones in every round. What is tried is
   * written out here, as it is nearly all that dealing takes.
   *
   * @param unit imbalance that counts as one.
   */
  round(round: number, unit: Readonly<Record<keyof Loads, number>>): void {
    const { bin, length } = this;
    const { tokens, area, time } = this.loads;
    const { tokens: hasTokens, area: hasArea, time: hasTime } = this.excess;
    const [perTokens, perArea, perTime] = [unit.tokens ** -2, unit.area ** -2, unit.time ** -2];
    const bins = hasTokens.length;
    let target = round % bins;
    let firstAfter = (round * tradesTried) % reach;
    for (let i = 0; i < length; i++) {
      const [ownTokens, ownArea, ownTime] = [tokens[i], area[i], time[i]];
      let from = bin[i];
      let after = firstAfter;
      for (let tried = 0; tried <= tradesTried; tried++) {
        let other = i;
        let to = target;
        let ofTokens = ownTokens;
        let ofArea = ownArea;
        let ofTime = ownTime;
        if (tried < tradesTried) {
          other = i + 1 + after;
          after = after + 1 === reach ? 0 : after + 1;
          if (other >= length) continue;
          to = bin[other];
          if (to === from) continue;
          ofTokens -= tokens[other];
          ofArea -= area[other];
          ofTime -= time[other];
        }
        // (a - x)^2 + (b + x)^2 - a^2 - b^2 is twice x (x - a + b).
        const change =
          perTokens * ofTokens * (ofTokens - hasTokens[from] + hasTokens[to]) +
          perArea * ofArea * (ofArea - hasArea[from] + hasArea[to]) +
          perTime * ofTime * (ofTime - hasTime[from] + hasTime[to]);
        if (change >= 0 || to === from) continue;
        hasTokens[from] -= ofTokens;
        hasTokens[to] += ofTokens;
        hasArea[from] -= ofArea;
        hasArea[to] += ofArea;
        hasTime[from] -= ofTime;
        hasTime[to] += ofTime;
        if (other !== i) bin[other] = from;
        bin[i] = to;
        from = to;
      }
      target = target + 1 === bins ? 0 : target + 1;
      firstAfter = firstAfter + 1 === reach ? 0 : firstAfter + 1;
    }
  }
}
