import type { UnitTiles } from "./unit-tiles.ts";

/** How long tiles on own keys of a part are computed in each of several portions, in microseconds. */
export class OwnPortions {
  /** Portion p of unit u at u * count + p. */
  readonly us: Float64Array;
  readonly #left: Float64Array;

  /** @param totalUs of each unit, all together. */
  constructor(
    readonly totalUs: Float64Array,
    readonly count: number,
  ) {
    this.us = new Float64Array(totalUs.length * count);
    this.#left = totalUs.slice();
  }

  leftUs(unit: number): number {
    return this.#left[unit];
  }

  isUntouched(unit: number): boolean {
    return this.#left[unit] === this.totalUs[unit];
  }

  /** As much as is wanted, but for what is kept for the last portion, which has all that is left; a part not worth its call goes with others. */
  take(unit: number, portion: number, wantedUs: number, keptUs: number): void {
    const left = this.#left[unit];
    let us = left;
    if (portion < this.count - 1) {
      us = Math.max(0, Math.min(wantedUs, left - keptUs));
      if (us < leastPortion * this.totalUs[unit]) us = 0;
      else if (left - us < leastPortion * this.totalUs[unit]) us = left;
    }
    this.us[unit * this.count + portion] = us;
    this.#left[unit] = left - us;
  }

  /** Divides tiles, those of a unit, in its portions. */
  divide(tiles: UnitTiles, unit: number): void {
    const first = unit * this.count;
    // A call takes longer than its tiles.
    const scale = tiles.timeUs(0, tiles.ownBegin[1]) / Math.max(1, this.totalUs[unit]);
    tiles.divideOwn(this.us.subarray(first + 1, first + this.count).map((us) => us * scale));
  }
}

/** What is less of a unit's own tiles is not a portion of its own. */
const leastPortion = 0.01;
