import { type Problem, tileMasks } from "@hsap/schedule";
import type { KernelClock } from "../cost/kernel-time.ts";
import { doubled, PieceList, type Pieces } from "../piece.ts";
import type { Placement } from "../place/place.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import { cargoes, type Messages } from "../route/message.ts";
import type { Traffic } from "../route/traffic.ts";

const fullCode = tileMasks.indexOf("full");
const causalCode = tileMasks.indexOf("causal");
/** Portions may be off by so much of all of them together, rather than have a tile cut. */
const leastPart = 0.01;

/** Whose queries: the unit's own, those that it computes for others, or both. */
type Whose = "own" | "borrowed" | "all";

/**
 * The tiles of one unit as columns: those on its own keys, in portions that are computed at different times, and round after
 * round those on what the round brought. Tiles of borrowed queries on own keys stand between both. In a forward pass that
 * borrows queries, own ones meet arrived keys last (`lateBegin`), while the others' results return. The object is used for
 * one unit after the other.
 */
export class UnitTiles {
  length = 0;
  /** The row of the placement's queries that the queries are of. */
  piece = new Int32Array(256);
  qBegin = new Int32Array(256);
  qEnd = new Int32Array(256);
  kBegin = new Int32Array(256);
  kEnd = new Int32Array(256);
  /** Index into `tileMasks`. */
  mask = new Int32Array(256);
  /** Tiles on own keys of portion p are rows ownBegin[p] up to, not including, ownBegin[p + 1]. */
  ownBegin = Int32Array.of(0, 0);
  /** Tiles on the keys of round r are rows arrivedBegin[r] up to, not including, arrivedBegin[r + 1]. */
  readonly arrivedBegin: Int32Array;
  /** Tiles from here on come after all others. */
  lateBegin = 0;
  readonly #isCausal: boolean;
  readonly #hasLate: boolean;
  readonly #unsorted = new PieceList();
  readonly #arrived = new PieceList();
  #rows = rowNumbers(0);
  #keys = new Uint32Array(0);

  constructor(
    { mask, pass }: Problem,
    readonly placement: Pick<Placement, "queries" | "ownKeys" | "isBorrowed">,
    readonly messages: Messages,
    readonly traffic: Traffic,
    readonly clock: KernelClock,
    /** Query heads of a lane. */
    readonly heads: number,
  ) {
    this.#isCausal = mask === "causal";
    this.#hasLate = pass === "forward" && placement.isBorrowed !== undefined;
    this.arrivedBegin = new Int32Array(messages.keyRounds + 1);
  }

  /** Makes the tiles of `unit`; those on own keys are one portion. */
  make(unit: number): void {
    const { pieceBegin, pieces } = this.placement.ownKeys;
    this.length = 0;
    const against = (whose: Whose) =>
      this.#against(unit, whose, pieces.document, pieces.begin, pieces.end, pieceBegin[unit], pieceBegin[unit + 1]);
    against("own");
    this.ownBegin = Int32Array.of(0, this.length);
    if (this.placement.isBorrowed !== undefined) against("borrowed");
    this.arrivedBegin[0] = this.length;
    this.#makeArrived(unit, this.#hasLate ? "borrowed" : "all", this.arrivedBegin);
    this.lateBegin = this.length;
    if (this.#hasLate) this.#makeArrived(unit, "own");
  }

  /** Tiles on the keys of all rounds; where those of each round begin is told in `begins`, if given. */
  #makeArrived(unit: number, whose: Whose, begins?: Int32Array): void {
    const { received, receivedBegin } = this.traffic;
    let next = receivedBegin[unit];
    for (let round = 0; round < this.messages.keyRounds; round++) {
      const first = next;
      while (next < receivedBegin[unit + 1] && this.messages.round[received[next]] === round) next++;
      if (next > first) {
        const { document, begin, end, length } = this.#arrivedIn(first, next);
        this.#against(unit, whose, document, begin, end, 0, length);
      }
      if (begins !== undefined) begins[round + 1] = this.length;
    }
  }

  /** As `make`, but own keys are taken together with all that arrive, after the last round: one call, and fewer, larger tiles. */
  makeTogether(unit: number): void {
    const { pieceBegin, pieces } = this.placement.ownKeys;
    const { keyRounds, round } = this.messages;
    const { received, receivedBegin } = this.traffic;
    this.length = 0;
    let past = receivedBegin[unit];
    while (past < receivedBegin[unit + 1] && round[received[past]] < keyRounds) past++;
    const { document, begin, end, length } = this.#arrivedIn(receivedBegin[unit], past, {
      pieces,
      first: pieceBegin[unit],
      past: pieceBegin[unit + 1],
    });
    this.ownBegin = Int32Array.of(0, 0);
    this.arrivedBegin.fill(0);
    this.#against(unit, "all", document, begin, end, 0, length);
    this.arrivedBegin[keyRounds] = this.length;
    this.lateBegin = this.length;
  }

  /** Microseconds of the tiles in rows `first` up to, not including, `past`, without what their call costs. */
  timeUs(first: number, past: number): number {
    let us = 0;
    for (let row = first; row < past; row++) us += this.#tileUs(row);
    return us;
  }

  /** Microseconds of a call on tiles `first` up to, not including, `past`; `addsUp` if earlier calls have written to all of its rows. */
  callUs(first: number, past: number, addsUp: boolean): number {
    if (first === past) return 0;
    let us = this.clock.launchUs;
    let documents = 0;
    let longest = 0;
    // Several tiles of one piece stand side by side only if they are on keys of one document.
    let last = -1;
    for (let row = first; row < past; row++) {
      us += this.#tileUs(row);
      longest = Math.max(longest, this.kEnd[row] - this.kBegin[row]);
      if (this.piece[row] === last) continue;
      last = this.piece[row];
      documents++;
      if (addsUp) us += this.clock.accumulateUs(this.qEnd[row] - this.qBegin[row], this.heads);
    }
    return us + this.clock.emptyBlocksUs(documents, longest, this.heads);
  }

  /**
   * Divides the tiles on own keys in portions: the last one takes as long as the last of `tailUs` says, the one before it as the
   * one before that, and the first has the rest. A tile too long for its portion is cut between two blocks of queries.
   */
  divideOwn(tailUs: ArrayLike<number>): void {
    const own = this.ownBegin[this.ownBegin.length - 1];
    const portions = new Int32Array(tailUs.length + 2);
    portions[portions.length - 1] = own;
    const leastUs = leastPart * this.timeUs(0, own);
    let row = own;
    let added = 0;
    for (let portion = tailUs.length; portion > 0; portion--) {
      for (let left = tailUs[portion - 1]; left > 0 && row > 0; ) {
        const us = this.#tileUs(row - 1);
        const queries = this.qEnd[row - 1] - this.qBegin[row - 1];
        const { blockRows } = this.clock;
        const rows = Math.max(1, Math.round(this.#lastRows(row - 1, left / us) / blockRows)) * blockRows;
        if (rows < queries && us - left > Math.max(leastUs, this.#cutUs(row - 1, rows))) {
          added += this.#cutTile(row - 1, this.qEnd[row - 1] - rows);
          left = 0;
        } else {
          row--;
          left -= us;
        }
      }
      portions[portion] = row;
      // Rows that cuts have added stand behind this border.
      for (let later = portion + 1; later < portions.length; later++) portions[later] += added;
      for (let round = 0; round < this.arrivedBegin.length; round++) this.arrivedBegin[round] += added;
      this.lateBegin += added;
      added = 0;
    }
    this.ownBegin = portions;
  }

  /** What a tile takes longer in two, the second of them of so many queries. */
  #cutUs(row: number, rows: number): number {
    const { clock, heads } = this;
    const isCausal = this.mask[row] === causalCode;
    const [qEnd, kBegin, kEnd] = [this.qEnd[row], this.kBegin[row], this.kEnd[row]];
    const at = qEnd - rows;
    const before = clock.tileUs(this.qBegin[row], at, kBegin, isCausal ? Math.min(kEnd, at) : kEnd, isCausal, heads);
    return before + clock.tileUs(at, qEnd, kBegin, kEnd, isCausal, heads) - this.#tileUs(row);
  }

  /** How many of a tile's last query rows have that share of its pairs. */
  #lastRows(row: number, share: number): number {
    const queries = this.qEnd[row] - this.qBegin[row];
    if (this.mask[row] !== causalCode) return share * queries;
    // The last row has all keys, each before it has one less.
    const keys = this.kEnd[row] - this.kBegin[row];
    const pairs = share * queries * (keys - queries / 2);
    return keys - Math.sqrt(Math.max(0, keys * keys - 2 * pairs));
  }

  /** Cuts tile `row` before query `at`; what comes after it stands in rows of its own behind it. Returns how many rows were added. */
  #cutTile(row: number, at: number): number {
    const [piece, qEnd, kBegin, kEnd] = [this.piece[row], this.qEnd[row], this.kBegin[row], this.kEnd[row]];
    this.#insertAfter(row);
    this.#set(row, piece, this.qBegin[row], at, kBegin, this.#isCausal ? Math.min(kEnd, at) : kEnd);
    this.#set(row + 1, piece, at, qEnd, kBegin, kEnd);
    return 1;
  }

  #insertAfter(row: number): void {
    if (this.length === this.piece.length) this.#grow();
    for (const column of [this.piece, this.qBegin, this.qEnd, this.kBegin, this.kEnd, this.mask])
      column.copyWithin(row + 1, row, this.length);
    this.length++;
  }

  #tileUs(row: number): number {
    const isCausal = this.mask[row] === causalCode;
    return this.clock.tileUs(this.qBegin[row], this.qEnd[row], this.kBegin[row], this.kEnd[row], isCausal, this.heads);
  }

  /** The keys that messages `received[first]` up to `received[past]` bring, in order of position and joined. */
  #arrivedIn(
    first: number,
    past: number,
    own?: { readonly pieces: Pieces; readonly first: number; readonly past: number },
  ): PieceList {
    const { itemBegin, items } = this.messages;
    const { received } = this.traffic;
    let count = own === undefined ? 0 : own.past - own.first;
    for (let i = first; i < past; i++) count += itemBegin[received[i] + 1] - itemBegin[received[i]];
    if (this.#rows.length < count) {
      this.#rows = new Int32Array(2 * count);
      this.#keys = new Uint32Array(2 * count);
    }
    const unsorted = this.#unsorted;
    unsorted.length = 0;
    if (own !== undefined) {
      for (let row = own.first; row < own.past; row++) {
        this.#rows[unsorted.length] = unsorted.length;
        this.#keys[unsorted.length] = own.pieces.begin[row];
        unsorted.push(own.pieces.document[row], own.pieces.begin[row], own.pieces.end[row]);
      }
    }
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

  /** Tiles of the unit's queries, own or borrowed or both, against keys in order of position; both are pieces of documents. */
  #against(
    unit: number,
    whose: Whose,
    document: Int32Array,
    begin: Int32Array,
    end: Int32Array,
    first: number,
    past: number,
  ): void {
    const { pieceBegin, pieces } = this.placement.queries;
    const isLeftOut = whose === "all" ? undefined : this.placement.isBorrowed;
    const leftOut = whose === "own" ? 1 : 0;
    const pastPiece = pieceBegin[unit + 1];
    let piece = pieceBegin[unit];
    for (let keys = first; keys < past; keys++) {
      while (piece < pastPiece && pieces.document[piece] < document[keys]) piece++;
      for (let of = piece; of < pastPiece && pieces.document[of] === document[keys]; of++) {
        if (isLeftOut !== undefined && isLeftOut[of] === leftOut) continue;
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
    this.#set(this.length++, piece, qBegin, qEnd, kBegin, kEnd);
  }

  #set(row: number, piece: number, qBegin: number, qEnd: number, kBegin: number, kEnd: number): void {
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
