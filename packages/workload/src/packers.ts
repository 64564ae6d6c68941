import { InputError } from "./input-error.ts";
import { checkedLength, type PackedBatch, packedBatch } from "./packed-batch.ts";

/** One batch, and for each of its documents where it comes from. */
export interface Pack {
  readonly batch: PackedBatch;
  readonly pieces: readonly Piece[];
}

/** The tokens `start` up to, not including, `end` of the given document. Whole unless the document was split. */
export interface Piece {
  readonly document: number;
  readonly start: number;
  readonly end: number;
}

export interface PackOptions {
  /** The most tokens that a pack holds. */
  readonly tokens: number;
  /**
   * A document longer than the pack: `split` (default) cuts it into pieces of `tokens` and a rest, each a document of its
   * own, so that attention ends at the cuts; `refuse` throws.
   */
  readonly overlong?: "split" | "refuse" | undefined;
}

export interface InOrderOptions extends PackOptions {
  /**
   * A document that does not fit into what is left of the pack: `move` (default) starts the next pack with it; `cut` fills
   * the pack with its beginning and puts the rest into the next, so that every pack but the last is full.
   */
  readonly atBorder?: "move" | "cut" | undefined;
}

/**
 * Packs documents in the order given; only the newest pack is open.
 *
 * @throws InputError if a length or `tokens` is not a whole number from 1 to 2^31 - 1, or an overlong document is refused.
 */
export function packInOrder(lengths: ArrayLike<number>, options: InOrderOptions): Pack[] {
  const bins = new OpenPacks(options.tokens);
  const cut = options.atBorder === "cut";
  for (const piece of cut ? wholeDocuments(lengths, options) : fittingPieces(lengths, options)) {
    let { start } = piece;
    while (start < piece.end) {
      const length = piece.end - start;
      const left = bins.left[bins.left.length - 1] ?? 0;
      const pack = length <= left || (cut && left > 0) ? bins.left.length - 1 : bins.open();
      const end = start + Math.min(length, bins.left[pack]);
      bins.put(pack, { ...piece, start, end });
      start = end;
    }
  }
  return bins.packs();
}

/**
 * Packs the longest documents first, each into the first pack that it fits (first-fit decreasing, at most 11/9 of the
 * fewest packs + 6/9: Dosa 2007). Documents of equal length keep their order.
 *
 * @throws InputError as `packInOrder`.
 */
export function packFirstFitDecreasing(lengths: ArrayLike<number>, options: PackOptions): Pack[] {
  const bins = new OpenPacks(options.tokens);
  const pieces = fittingPieces(lengths, options).sort((a, b) => lengthOf(b) - lengthOf(a));
  for (const piece of pieces) {
    const length = lengthOf(piece);
    const first = bins.left.findIndex((left) => left >= length);
    bins.put(first < 0 ? bins.open() : first, piece);
  }
  return bins.packs();
}

/**
 * Packs documents in the order given, each into the pack that it leaves the fewest tokens free in (best fit); of equals,
 * the oldest.
 *
 * @throws InputError as `packInOrder`.
 */
export function packBestFit(lengths: ArrayLike<number>, options: PackOptions): Pack[] {
  const bins = new OpenPacks(options.tokens);
  for (const piece of fittingPieces(lengths, options)) {
    const length = lengthOf(piece);
    let best = -1;
    for (let pack = 0; pack < bins.left.length; ++pack) {
      if (bins.left[pack] >= length && (best < 0 || bins.left[pack] < bins.left[best])) best = pack;
    }
    bins.put(best < 0 ? bins.open() : best, piece);
  }
  return bins.packs();
}

/** The packers by name. */
export const packers = {
  "in-order": packInOrder,
  "first-fit-decreasing": packFirstFitDecreasing,
  "best-fit": packBestFit,
} as const;

class OpenPacks {
  /** The tokens left free in each pack. */
  readonly left: number[] = [];
  readonly #pieces: Piece[][] = [];
  readonly #tokens: number;

  constructor(tokens: number) {
    this.#tokens = checkedLength(tokens, "option tokens");
  }

  /** Starts an empty pack and returns its index. */
  open(): number {
    this.#pieces.push([]);
    return this.left.push(this.#tokens) - 1;
  }

  put(pack: number, piece: Piece): void {
    this.left[pack] -= lengthOf(piece);
    this.#pieces[pack].push(piece);
  }

  packs(): Pack[] {
    return this.#pieces.map((pieces) => ({ pieces, batch: packedBatch(pieces.map(lengthOf)) }));
  }
}

function fittingPieces(lengths: ArrayLike<number>, options: PackOptions): Piece[] {
  const { tokens } = options;
  return wholeDocuments(lengths, options).flatMap((whole) => {
    const pieces = Math.ceil(whole.end / tokens);
    return Array.from({ length: pieces }, (_, i) => ({
      document: whole.document,
      start: i * tokens,
      end: Math.min((i + 1) * tokens, whole.end),
    }));
  });
}

function wholeDocuments(lengths: ArrayLike<number>, { tokens, overlong = "split" }: PackOptions): Piece[] {
  return Array.from(lengths, (length, document) => {
    checkedLength(length, `document ${document}`);
    if (length > tokens && overlong === "refuse") {
      throw new InputError(`invalid length: ${length} at document ${document} (a pack holds ${tokens} tokens)`);
    }
    return { document, start: 0, end: length };
  });
}

function lengthOf({ start, end }: Piece): number {
  return end - start;
}
