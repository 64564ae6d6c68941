import { doubled } from "../piece.ts";
import { cargoes, type Messages } from "../route/message.ts";

/**
 * What is to be added up of the partial gradients, or partial results, that a unit receives in one round: one sum for each range
 * of tokens, in the order in which ranges first come. The object is used for one round after the other.
 */
export class Sums {
  length = 0;
  begin = new Int32Array(64);
  end = new Int32Array(64);
  /** Whether the unit owns the tokens (1), so that the sum is the result. */
  isResult = new Int32Array(64);
  /** The first of the sum's parts; `nextPart` names the next one, and -1 ends them. */
  firstPart = new Int32Array(64);
  nextPart = new Int32Array(64);
  /** The unit that sent a part. */
  from = new Int32Array(64);
  #lastPart = new Int32Array(64);
  #parts = 0;
  // Sums by a hash of their tokens: number of the sum, plus 1; 0 where none is.
  #slots = new Int32Array(256);

  /** Collects the sums of those cargoes of messages `received[first]` up to, not including, `received[past]`. */
  collect(
    messages: Messages,
    received: Int32Array,
    first: number,
    past: number,
    isSummed: (cargo: number) => boolean,
  ): void {
    const { itemBegin, items, from } = messages;
    this.length = 0;
    this.#parts = 0;
    let most = 0;
    for (let i = first; i < past; i++) most += itemBegin[received[i] + 1] - itemBegin[received[i]];
    this.#reserve(most);
    for (let i = first; i < past; i++) {
      const message = received[i];
      for (let row = itemBegin[message]; row < itemBegin[message + 1]; row++) {
        if (!isSummed(items.cargo[row])) continue;
        const part = this.#parts++;
        this.from[part] = from[message];
        this.nextPart[part] = -1;
        const sum = this.#sumOf(items.begin[row], items.end[row]);
        if (sum < this.length) {
          this.nextPart[this.#lastPart[sum]] = part;
        } else {
          this.length++;
          this.begin[sum] = items.begin[row];
          this.end[sum] = items.end[row];
          this.isResult[sum] = items.cargo[row] === cargoes.relayed ? 0 : 1;
          this.firstPart[sum] = part;
        }
        this.#lastPart[sum] = part;
      }
    }
  }

  /** The sum of these tokens; the number of the next sum, with a slot for it, if there is none. */
  #sumOf(begin: number, end: number): number {
    const mask = this.#slots.length - 1;
    let slot = (Math.imul(begin, 0x9e3779b1) >>> 8) & mask;
    for (; this.#slots[slot] > 0; slot = (slot + 1) & mask) {
      const sum = this.#slots[slot] - 1;
      if (this.begin[sum] === begin && this.end[sum] === end) return sum;
    }
    this.#slots[slot] = this.length + 1;
    return this.length;
  }

  #reserve(parts: number): void {
    while (this.begin.length < parts) {
      this.begin = doubled(this.begin);
      this.end = doubled(this.end);
      this.isResult = doubled(this.isResult);
      this.firstPart = doubled(this.firstPart);
      this.nextPart = doubled(this.nextPart);
      this.from = doubled(this.from);
      this.#lastPart = doubled(this.#lastPart);
    }
    if (this.#slots.length < 4 * this.begin.length) this.#slots = new Int32Array(4 * this.begin.length);
    else this.#slots.fill(0);
  }
}
