import { type Problem, tileMasks } from "@hsap/schedule";
import { cargoes, type Messages } from "./message.ts";
import { doubled, PieceList } from "./piece.ts";
import { rowNumbers, sortByKey } from "./radix-sort.ts";
import type { Sharding } from "./shard.ts";
import type { Traffic } from "./traffic.ts";

const fullCode = tileMasks.indexOf("full");
const causalCode = tileMasks.indexOf("causal");

/**
 * The tiles of one unit as columns, in the order in which they are computed: those on its own keys, and then round after
 * round those on what the round brought. The object is used for one unit after the other.
 */
export class UnitTiles {
  length = 0;
  /** The piece of the sharding that the queries are of. */
  piece = new Int32Array(256);
  qBegin = new Int32Array(256);
  qEnd = new Int32Array(256);
  kBegin = new Int32Array(256);
  kEnd = new Int32Array(256);
  /** Index into `tileMasks`. */
  mask = new Int32Array(256);
  /** Tiles of step s are rows stepBegin[s] up to, not including, stepBegin[s + 1]; step s + 1 is that of round s. */
  readonly stepBegin: Int32Array;
  readonly #isCausal: boolean;
  readonly #unsorted = new PieceList();
  readonly #arrived = new PieceList();
  #rows = rowNumbers(0);
  #keys = new Uint32Array(0);

  constructor(
    { mask }: Problem,
    readonly sharding: Sharding,
    readonly messages: Messages,
    readonly traffic: Traffic,
  ) {
    this.#isCausal = mask === "causal";
    this.stepBegin = new Int32Array(messages.rounds + 2);
  }

  /** Makes the tiles of `unit`. */
  make(unit: number): void {
    const { pieceBegin, pieces } = this.sharding;
    const { rounds, round } = this.messages;
    const { received, receivedBegin } = this.traffic;
    this.length = 0;
    this.#against(unit, pieces.document, pieces.begin, pieces.end, pieceBegin[unit], pieceBegin[unit + 1]);
    this.stepBegin[1] = this.length;
    let next = receivedBegin[unit];
    for (let step = 1; step <= rounds; step++) {
      const first = next;
      while (next < receivedBegin[unit + 1] && round[received[next]] === step - 1) next++;
      if (next > first) {
        const { document, begin, end, length } = this.#arrivedIn(first, next);
        this.#against(unit, document, begin, end, 0, length);
      }
      this.stepBegin[step + 1] = this.length;
    }
  }

  /** The keys that messages `received[first]` up to `received[past]` bring, in order of position and joined. */
  #arrivedIn(first: number, past: number): PieceList {
    const { itemBegin, items } = this.messages;
    const { received } = this.traffic;
    let count = 0;
    for (let i = first; i < past; i++) count += itemBegin[received[i] + 1] - itemBegin[received[i]];
    if (this.#rows.length < count) {
      this.#rows = new Int32Array(2 * count);
      this.#keys = new Uint32Array(2 * count);
    }
    const unsorted = this.#unsorted;
    unsorted.length = 0;
    for (let i = first; i < past; i++) {
      for (let row = itemBegin[received[i]]; row < itemBegin[received[i] + 1]; row++) {
        if (items.cargo[row] !== cargoes.keys) continue;
        this.#rows[unsorted.length] = unsorted.length;
        this.#keys[unsorted.length] = items.begin[row];
        unsorted.push(items.document[row], items.begin[row], items.end[row]);
      }
    }
    sortByKey(this.#rows, this.#keys, unsorted.length);
    this.#arrived.length = 0;
    for (let i = 0; i < unsorted.length; i++) {
      const row = this.#rows[i];
      this.#arrived.pushJoined(0, unsorted.document[row], unsorted.begin[row], unsorted.end[row]);
    }
    return this.#arrived;
  }

  /** Tiles of the unit's queries against keys in order of position; both are pieces of documents. */
  #against(unit: number, document: Int32Array, begin: Int32Array, end: Int32Array, first: number, past: number): void {
    const { pieceBegin, pieces } = this.sharding;
    const pastPiece = pieceBegin[unit + 1];
    let piece = pieceBegin[unit];
    for (let keys = first; keys < past; keys++) {
      while (piece < pastPiece && pieces.document[piece] < document[keys]) piece++;
      for (let of = piece; of < pastPiece && pieces.document[of] === document[keys]; of++) {
        this.#push(of, pieces.begin[of], pieces.end[of], begin[keys], end[keys]);
      }
    }
  }

  /** The tile of a piece of queries against keys of the same document, trimmed to what the mask leaves, if that is anything. */
  #push(piece: number, queryBegin: number, qEnd: number, kBegin: number, keyEnd: number): void {
    const qBegin = this.#isCausal ? Math.max(queryBegin, kBegin) : queryBegin;
    const kEnd = this.#isCausal ? Math.min(keyEnd, qEnd) : keyEnd;
    if (qBegin >= qEnd || kBegin >= kEnd) return;
    if (this.length === this.piece.length) this.#grow();
    const row = this.length++;
    this.piece[row] = piece;
    this.qBegin[row] = qBegin;
    this.qEnd[row] = qEnd;
    this.kBegin[row] = kBegin;
    this.kEnd[row] = kEnd;
    this.mask[row] = this.#isCausal && kEnd > qBegin + 1 ? causalCode : fullCode;
  }

  #grow(): void {
    this.piece = doubled(this.piece);
    this.qBegin = doubled(this.qBegin);
    this.qEnd = doubled(this.qEnd);
    this.kBegin = doubled(this.kBegin);
    this.kEnd = doubled(this.kEnd);
    this.mask = doubled(this.mask);
  }
}
