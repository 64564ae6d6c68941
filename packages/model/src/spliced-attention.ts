import {
  attentionTensors,
  type Block,
  type GroupKind,
  type Op,
  type ProgramBuilder,
  programOf,
  type Schedule,
  type TensorSpec,
  type TokenRange,
  type Transfer,
  worldSizeOf,
} from "@hsap/schedule";

/** A half-open range of heads. */
export type HeadRange = readonly [begin: number, end: number];

/** Some heads of some tokens. */
export interface Piece {
  readonly tokens: TokenRange;
  readonly heads: HeadRange;
}

/** The schedule of an attention strategy as part of a layer: what it adds to the layer's tensors, and what it does to its programs. */
export class SplicedAttention {
  readonly #names: ReadonlySet<string>;

  constructor(readonly schedule: Schedule) {
    this.#names = new Set(attentionTensors(schedule.problem).map(({ name }) => name));
  }

  /** The strategy's own tensors. */
  get ownTensors(): TensorSpec[] {
    return this.schedule.tensors.filter(({ name }) => !this.#names.has(name));
  }

  /** A tensor of the layer as the strategy wants it: another dtype where it travels, the layer's role. */
  adapted(spec: TensorSpec): TensorSpec {
    const own = this.schedule.tensors.find(({ name }) => name === spec.name);
    return own === undefined ? spec : { ...spec, dtype: own.dtype, accumulates: own.accumulates };
  }

  /**
   * Cuts ranges of tokens into pieces in which a layer makes or takes `tensors` (of so many heads) on a rank, so that its blocks join no
   * others: where attention moves or computes some heads only, between the heads at which its blocks begin or end. Sorted by heads.
   */
  pieces(rank: number, tensors: readonly string[], heads: number, ranges: readonly TokenRange[]): Piece[] {
    const cuts = new Set([0, heads]);
    const split: TokenRange[] = [];
    for (const op of programOf(this.schedule, rank)) {
      for (const block of op.blocks) {
        if (block.part !== 0 || !tensors.includes(block.tensor)) continue;
        if (block.headEnd - block.headBegin === heads) continue;
        cuts.add(block.headBegin).add(block.headEnd);
        split.push({ begin: block.tokenBegin, end: block.tokenEnd });
      }
    }
    const splitTokens = unionOf(split);
    const sorted = [...cuts].sort((a, b) => a - b);
    return [
      ...without(ranges, splitTokens).map((tokens): Piece => ({ tokens, heads: [0, heads] })),
      ...sorted
        .slice(1)
        .flatMap((end, i) => within(ranges, splitTokens).map((tokens): Piece => ({ tokens, heads: [sorted[i], end] }))),
    ];
  }

  /** What a rank keeps of `tensor` elsewhere than with the owner of its rows, if any rank does. */
  residentBlocks(rank: number, tensor: string): readonly Block[] {
    return (this.schedule.resident?.[rank] ?? []).filter((block) => block.tensor === tensor);
  }

  /** Whether `tensor` lies in another form than the layout's. */
  isResident(tensor: string): boolean {
    return (this.schedule.resident ?? []).some((blocks) => blocks.some((block) => block.tensor === tensor));
  }

  /** Where a rank keeps `tensor` if any of it lies in another form than the layout's: that, and what is its own of all other tokens. */
  keptBlocks(rank: number, tensor: string): Block[] {
    const spec = this.schedule.tensors.find(({ name }) => name === tensor);
    if (spec === undefined || !this.isResident(tensor)) return [];
    const elsewhere = (this.schedule.resident ?? []).flat().filter((block) => block.tensor === tensor);
    const covered = unionOf(elsewhere.map(({ tokenBegin, tokenEnd }) => ({ begin: tokenBegin, end: tokenEnd })));
    const rest = without(this.schedule.layout[rank], covered).map(({ begin, end }) => ({
      ...{ tensor, part: 0, tokenBegin: begin, tokenEnd: end, headBegin: 0, headEnd: spec.heads },
    }));
    return [...this.residentBlocks(rank, tensor), ...rest];
  }

  /** Appends the strategy's ops of a rank to `program`. */
  append(program: ProgramBuilder, rank: number): void {
    let group = -1;
    let kind: GroupKind = "p2p";
    let transfers: Transfer[] = [];
    const close = () => {
      program.exchange(kind, transfers);
      transfers = [];
    };
    for (const op of programOf(this.schedule, rank)) {
      if (op.kind === "send" || op.kind === "recv") {
        const transfer = op as Extract<Op, { kind: "send" | "recv" }>;
        if (transfer.group !== group) close();
        group = transfer.group;
        kind = transfer.groupKind;
        transfers.push(
          op.kind === "send" ? { to: transfer.peer, blocks: op.blocks } : { from: transfer.peer, blocks: op.blocks },
        );
        continue;
      }
      close();
      program.compute(op.kind, op.blocks, "mask" in op ? op.mask : "full");
    }
    close();
  }

  /** Ranks that own tokens, with all that they own. */
  get owners(): readonly number[] {
    return Array.from({ length: worldSizeOf(this.schedule) }, (_, rank) => rank).filter(
      (rank) => this.schedule.layout[rank].length > 0,
    );
  }
}

/** The parts of sorted ranges that lie inside of others, sorted and disjoint. */
const within = (ranges: readonly TokenRange[], others: readonly TokenRange[]): TokenRange[] =>
  ranges.flatMap(({ begin, end }) =>
    others
      .filter((other) => other.end > begin && other.begin < end)
      .map((other) => ({ begin: Math.max(begin, other.begin), end: Math.min(end, other.end) })),
  );

/** The parts that lie outside. */
const without = (ranges: readonly TokenRange[], others: readonly TokenRange[]): TokenRange[] =>
  ranges.flatMap(({ begin, end }) => {
    const gaps: TokenRange[] = [];
    let at = begin;
    for (const other of within([{ begin, end }], others)) {
      if (other.begin > at) gaps.push({ begin: at, end: other.begin });
      at = other.end;
    }
    if (at < end) gaps.push({ begin: at, end });
    return gaps;
  });

/** All tokens of some ranges, which may overlap, as sorted and disjoint ranges. */
function unionOf(ranges: readonly TokenRange[]): TokenRange[] {
  const union: { begin: number; end: number }[] = [];
  for (const { begin, end } of [...ranges].sort((a, b) => a.begin - b.begin)) {
    const last = union[union.length - 1];
    if (last !== undefined && begin <= last.end) last.end = Math.max(last.end, end);
    else union.push({ begin, end });
  }
  return union;
}
