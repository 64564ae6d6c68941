import {
  attentionTensors,
  type Block,
  type GroupKind,
  homeBlocks,
  type Op,
  type ProgramBuilder,
  programOf,
  type Schedule,
  type TensorSpec,
  type Transfer,
  worldSizeOf,
} from "@hsap/schedule";

/** A half-open range of heads. */
export type HeadRange = readonly [begin: number, end: number];

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
   * Head ranges in which a layer makes or takes `tensor` on a rank, so that its blocks join no others: those between the heads at
   * which any block of attention begins or ends there.
   */
  slices(rank: number, tensor: string, heads: number): HeadRange[] {
    const cuts = new Set([0, heads]);
    for (const op of programOf(this.schedule, rank)) {
      for (const block of op.blocks) {
        if (block.tensor !== tensor || block.part !== 0) continue;
        cuts.add(block.headBegin).add(block.headEnd);
      }
    }
    const sorted = [...cuts].sort((a, b) => a - b);
    return sorted.slice(1).map((end, i) => [sorted[i], end] as const);
  }

  /** What a rank keeps of `tensor` elsewhere than with the owner of its rows, if any rank does. */
  residentBlocks(rank: number, tensor: string): readonly Block[] {
    return (this.schedule.resident?.[rank] ?? []).filter((block) => block.tensor === tensor);
  }

  /** Whether `tensor` lies in another form than the layout's. */
  isResident(tensor: string): boolean {
    return (this.schedule.resident ?? []).some((blocks) => blocks.some((block) => block.tensor === tensor));
  }

  /** Where `tensor` lies: what is resident if any is, else with the owner of its rows. */
  homes(rank: number, tensor: string): readonly Block[] {
    return this.isResident(tensor) ? this.residentBlocks(rank, tensor) : homeBlocks(this.schedule, rank, tensor);
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
