import {
  attentionTensors,
  type Block,
  type Op,
  type ProgramBuilder,
  programOf,
  type Schedule,
  type TensorSpec,
  type TokenRange,
} from "@hsap/schedule";
import { appendOps } from "./append-ops.ts";

/** A half-open range of heads. */
export type HeadRange = readonly [begin: number, end: number];

/** Some heads of some tokens. */
export interface Piece {
  readonly tokens: TokenRange;
  readonly heads: HeadRange;
}

/** An attention schedule and where it lies in a layer: on which ranks, from which token on, and with which share of the heads. */
export interface Lane {
  readonly schedule: Schedule;
  /** The rank of the layer that each rank of the schedule is. */
  readonly ranks: readonly number[];
  readonly firstToken: number;
  readonly column: number;
}

interface Standing {
  readonly lane: Lane;
  readonly place: number;
}

/**
 * The schedules of an attention strategy as part of a layer: what they add to the layer's tensors, and what they do to its programs. There
 * is one for each lane, and every rank stands in one lane; ranks, tokens and heads are those of the layer. Of each tensor a lane has one
 * of `columns` equal shares of the heads.
 */
export class SplicedAttention {
  readonly #names: ReadonlySet<string>;
  readonly #standings: Standing[] = [];

  constructor(
    private readonly lanes: readonly Lane[],
    readonly columns: number,
  ) {
    this.#names = new Set(attentionTensors(lanes[0].schedule.problem).map(({ name }) => name));
    for (const lane of lanes)
      lane.ranks.forEach((rank, place) => {
        this.#standings[rank] = { lane, place };
      });
  }

  /** The strategy's own tensors; one whose rows have other widths in other lanes is as wide as the widest. */
  get ownTensors(): TensorSpec[] {
    const own = new Map<string, TensorSpec>();
    for (const { schedule } of this.lanes) {
      for (const spec of schedule.tensors) {
        if (this.#names.has(spec.name)) continue;
        const width = Math.max(spec.width, own.get(spec.name)?.width ?? 0);
        own.set(spec.name, { ...spec, width, heads: spec.heads * this.columns });
      }
    }
    return [...own.values()];
  }

  /** A tensor of the layer as the strategy wants it: another dtype where it travels, the layer's role. */
  adapted(spec: TensorSpec): TensorSpec {
    const own = this.lanes[0].schedule.tensors.find(({ name }) => name === spec.name);
    return own === undefined ? spec : { ...spec, dtype: own.dtype, accumulates: own.accumulates };
  }

  /** The ranks of a rank's lane, itself among them. */
  laneOf(rank: number): readonly number[] {
    return this.#standings[rank].lane.ranks;
  }

  /** The tokens that a rank owns in attention. */
  shard(rank: number): TokenRange[] {
    const { lane, place } = this.#standings[rank];
    const { schedule, firstToken } = lane;
    return schedule.layout[place].map(({ begin, end }) => ({ begin: begin + firstToken, end: end + firstToken }));
  }

  /** A rank's share of so many heads. */
  headsOf(rank: number, heads: number): HeadRange {
    const { column } = this.#standings[rank].lane;
    return [(heads / this.columns) * column, (heads / this.columns) * (column + 1)];
  }

  /**
   * Cuts what a rank owns in attention into pieces in which a layer makes or takes `tensors` (of so many heads), so that its blocks join no
   * others: where attention moves or computes some heads only, between the heads at which its blocks begin or end. Sorted by heads.
   */
  pieces(rank: number, tensors: readonly string[], heads: number): Piece[] {
    const { lane, place } = this.#standings[rank];
    const { schedule, firstToken } = lane;
    const own = heads / this.columns;
    const ranges = schedule.layout[place];
    const cuts = new Set([0, own]);
    const split: TokenRange[] = [];
    for (const op of programOf(schedule, place)) {
      for (const block of op.blocks) {
        if (block.part !== 0 || !tensors.includes(block.tensor)) continue;
        if (block.headEnd - block.headBegin === own) continue;
        cuts.add(block.headBegin).add(block.headEnd);
        split.push({ begin: block.tokenBegin, end: block.tokenEnd });
      }
    }
    const splitTokens = unionOf(split);
    const sorted = [...cuts].sort((a, b) => a - b);
    const firstHead = lane.column * own;
    const piece = ({ begin, end }: TokenRange, from: number, to: number): Piece => ({
      tokens: { begin: begin + firstToken, end: end + firstToken },
      heads: [from + firstHead, to + firstHead],
    });
    return [
      ...without(ranges, splitTokens).map((tokens) => piece(tokens, 0, own)),
      ...sorted
        .slice(1)
        .flatMap((end, i) => within(ranges, splitTokens).map((tokens) => piece(tokens, sorted[i], end))),
    ];
  }

  /** What a rank keeps of `tensor` elsewhere than with the owner of its rows, if any rank does. */
  residentBlocks(rank: number, tensor: string): readonly Block[] {
    const { lane, place } = this.#standings[rank];
    return (lane.schedule.resident?.[place] ?? [])
      .filter((block) => block.tensor === tensor)
      .map((block) => this.#placed(lane, block));
  }

  /** Whether `tensor` lies in another form than the layout's in any lane. */
  isResident(tensor: string): boolean {
    return this.lanes.some(({ schedule }) =>
      (schedule.resident ?? []).some((blocks) => blocks.some((block) => block.tensor === tensor)),
    );
  }

  /**
   * Where a rank keeps a tensor of attention if any of it lies in another form than the layer's layout: that, and its own heads of what it
   * owns of all other tokens.
   */
  keptBlocks(rank: number, tensor: string): Block[] {
    const { lane, place } = this.#standings[rank];
    const { tensors, resident = [], layout } = lane.schedule;
    const spec = tensors.find(({ name }) => name === tensor);
    if (spec === undefined || !this.isResident(tensor)) return [];
    const elsewhere = resident.flat().filter((block) => block.tensor === tensor);
    const covered = unionOf(elsewhere.map(({ tokenBegin, tokenEnd }) => ({ begin: tokenBegin, end: tokenEnd })));
    const rest = without(layout[place], covered).map(({ begin, end }) =>
      this.#placed(lane, {
        ...{ tensor, part: 0, tokenBegin: begin, tokenEnd: end, headBegin: 0, headEnd: spec.heads },
      }),
    );
    return [...this.residentBlocks(rank, tensor), ...rest];
  }

  /** Appends the strategy's ops of a rank to `program`. */
  append(program: ProgramBuilder, rank: number): void {
    appendOps(program, this.#placedOps(this.#standings[rank]));
  }

  /** The strategy's ops of a rank, with the blocks and peers of all ranks. */
  *#placedOps({ lane, place }: Standing): Generator<Op> {
    for (const op of programOf(lane.schedule, place)) {
      const blocks = op.blocks.map((block) => this.#placed(lane, block));
      yield op.kind === "send" || op.kind === "recv" ? { ...op, blocks, peer: lane.ranks[op.peer] } : { ...op, blocks };
    }
  }

  #placed({ schedule, firstToken, column }: Lane, block: Block): Block {
    if (firstToken === 0 && column === 0) return block;
    const { heads = 0 } = schedule.tensors.find(({ name }) => name === block.tensor) ?? {};
    return {
      ...block,
      tokenBegin: block.tokenBegin + firstToken,
      tokenEnd: block.tokenEnd + firstToken,
      headBegin: block.headBegin + column * heads,
      headEnd: block.headEnd + column * heads,
    };
  }
}

/** The parts of sorted ranges that lie inside of others, sorted and disjoint. */
export const within = (ranges: readonly TokenRange[], others: readonly TokenRange[]): TokenRange[] =>
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
