import {
  attentionProblemOf,
  type CheapTensor,
  endStages,
  equationsOf,
  ffnGroups,
  gradientOf,
  type LayerStrategy,
  type ModelProblem,
  madeAgain,
  type StageContext,
  stageTensors,
  WeightShards,
} from "@hsap/model";
import {
  type Block,
  type Degrees,
  type Layout,
  type ProgramBuilder,
  ranksOf,
  type Schedule,
  ScheduleBuilder,
} from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { contiguousShards, type HeadRange, otherPlaces, shardTiles } from "./shard.ts";

/**
 * Megatron-LM with sequence parallelism: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models",
 * arXiv 2205.05198; tensor parallelism: Shoeybi et al., arXiv 1909.08053.
 *
 * Sharding: norms, residuals and both ends of the model work on contiguous pieces of the sequence; inside of attention and of the
 * feed-forward part each rank has the whole sequence and 1/P of the heads, or of the columns. Weights are split alike.
 * Forward: an all-gather of the normed rows before each part, a reduce-scatter of its partial sums after it. Backward: the same the other
 * way round, and the normed rows are gathered once more for the weights' gradients instead of being kept.
 * Volume of a layer: forward 4 (P-1)/P * N*hidden*e, backward 6 (P-1)/P * N*hidden*e, whatever the documents; and the gradients of the
 * gains, P-1 times hidden / P each, twice. Partial sums travel as activations do.
 * Memory: x and h of N/P tokens; q, k, v, o and two rows of the feed-forward part for all tokens, 1/P of their columns.
 * Balance: perfect, whatever the documents.
 * Constraints: P divides the kv heads and the column groups of the feed-forward part. Embedding and head are replicated here, not
 * split by vocabulary.
 */
export const megatron: LayerStrategy = {
  name: "megatron",
  summary: "Heads and feed-forward columns split; all-gather before and reduce-scatter after each part of a layer.",
  citation: "Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198",
  degreeNames: ["tensor"],
  defaultDegrees: (problem) => ({ tensor: ranksOf(attentionProblemOf(problem, "forward")) }),

  candidateDegrees: (problem) => {
    const tensor = ranksOf(attentionProblemOf(problem, "forward"));
    return splitRefusal(problem, tensor) === undefined ? [{ tensor }] : [];
  },

  compile(problem, degrees) {
    const attention = attentionProblemOf(problem, "forward");
    const checked = checkedDegrees(megatron, attention, degrees);
    checkSplit(problem, checked.tensor);
    const layout = contiguousShards(attention, checked.tensor);
    const context: StageContext = { problem, strategy: "megatron", degrees: checked, layout };
    return {
      ...endStages(context, "replicated"),
      layerForward: stageOf(context, "layerForward", writeForward),
      layerBackward: stageOf(context, "layerBackward", writeBackward),
    };
  },
};

function checkSplit(problem: ModelProblem, degree: number): void {
  const refusal = splitRefusal(problem, degree);
  if (refusal !== undefined)
    throw new InputError(`invalid degree: tensor=${degree} (megatron splits ${refusal}: must divide them)`);
}

/** What `degree` ranks cannot split evenly, if anything. */
function splitRefusal({ model }: ModelProblem, degree: number): string | undefined {
  if (model.kvHeads % degree !== 0) return `${model.kvHeads} kv heads`;
  const groups = ffnGroups(model);
  return groups % degree === 0 ? undefined : `${groups} feed-forward column groups`;
}

function stageOf(
  { problem, strategy, degrees, layout }: StageContext,
  stage: "layerForward" | "layerBackward",
  write: (seat: Seat) => void,
): Schedule {
  const attention = attentionProblemOf(problem, stage === "layerForward" ? "forward" : "backward");
  const again = againOf(problem);
  const tensors = stageTensors(problem, stage, again);
  const builder = new ScheduleBuilder(attention, strategy, degrees, layout, tensors, equationsOf(stage, again));
  layout.forEach((_, rank) => {
    write(new Seat(problem, builder, layout, degrees, rank));
  });
  return builder.finish();
}

/** Normed rows are gathered once more whatever is kept, so they are made again as well, which takes no more than that. */
const againOf = (problem: ModelProblem): readonly CheapTensor[] => [
  "n1",
  "n2",
  ...madeAgain(problem).filter((name) => name === "m"),
];

/** One rank's part, with its share of heads and columns. */
class Seat {
  readonly program: ProgramBuilder;
  readonly shards: WeightShards;
  readonly #share: Readonly<Record<"heads" | "kvHeads" | "groups", HeadRange>>;

  constructor(
    readonly problem: ModelProblem,
    readonly builder: ScheduleBuilder,
    readonly layout: Layout,
    { tensor: degree }: Degrees,
    readonly rank: number,
  ) {
    const { model } = problem;
    this.program = builder.rank(rank);
    const owners = layout.flatMap((owned, owner) => (owned.length > 0 ? [owner] : []));
    this.shards = new WeightShards(builder, "replicated", owners, layout.length);
    const part = (count: number): HeadRange => [(count / degree) * rank, (count / degree) * (rank + 1)];
    this.#share = { heads: part(model.heads), kvHeads: part(model.kvHeads), groups: part(ffnGroups(model)) };
  }

  /** The query heads of this rank. */
  get heads(): HeadRange {
    return this.#share.heads;
  }

  /** Blocks of the rank's own tokens, all columns. */
  own(name: string, rank = this.rank, part = 0): Block[] {
    return this.layout[rank].map((range) => this.builder.block(name, range, undefined, part));
  }

  /** All tokens: this rank's columns of a tensor that is split, all columns of any other. */
  all(name: string, part = 0): Block {
    const tokens = { begin: 0, end: tokensOf(this.problem.batch) };
    return this.builder.block(name, tokens, this.#columns(name), part);
  }

  /** This rank's columns or rows of a weight, or of its gradient. */
  weight(name: string): Block {
    const { model } = this.problem;
    const base = name.replace(/^d/, "");
    const whole = this.shards.whole(name);
    const rows = (of: HeadRange, width: number) => ({ ...whole, tokenBegin: of[0] * width, tokenEnd: of[1] * width });
    if (base === "wo") return rows(this.#share.heads, model.headDim);
    if (base === "wd") return rows(this.#share.groups, model.ffn / ffnGroups(model));
    const heads = base === "wq" ? this.#share.heads : base.startsWith("g") ? undefined : this.#columnsOfWeight(base);
    return heads === undefined ? whole : { ...whole, headBegin: heads[0], headEnd: heads[1] };
  }

  /** This rank's share of a gain's gradient. */
  gainShare(name: string): Block {
    return this.shards.whole(gradientOf(name), 1 + this.rank);
  }

  /** Every rank's own rows of `name` come to every rank. */
  allGather(name: string): void {
    this.program.exchange(
      "allGather",
      otherPlaces(this.layout, this.rank).flatMap((other) => [
        { to: other, blocks: this.own(name) },
        { from: other, blocks: this.own(name, other) },
      ]),
    );
  }

  /** Partial sums of all tokens, one with each rank, are added up where the tokens lie. */
  reduceScatter(name: string): void {
    this.program.exchange(
      "reduceScatter",
      otherPlaces(this.layout, this.rank).flatMap((other) => [
        { to: other, blocks: this.own(name, other, 1 + this.rank) },
        { from: other, blocks: this.own(name, this.rank, 1 + other) },
      ]),
    );
    for (const target of this.own(name))
      this.program.reduce(target, ...this.layout.map((_, other) => ({ ...target, part: 1 + other })));
  }

  #columns(name: string): HeadRange | undefined {
    if (/^d?(q|q0|o)$|^dq0$|^lse$|^delta$/.test(name)) return this.#share.heads;
    if (/^d?(k|k0|v)$/.test(name)) return this.#share.kvHeads;
    return /^d?(gate|up|m)$/.test(name) ? this.#share.groups : undefined;
  }

  #columnsOfWeight(base: string): HeadRange {
    return base === "wk" || base === "wv" ? this.#share.kvHeads : this.#share.groups;
  }
}

const splitWeights = ["wq", "wk", "wv", "wo", "wg", "wu", "wd"] as const;
const keptAsColumns = ["q", "k", "v", "o", "lse", "gate", "up", "m"] as const;

/** What lies with a rank before a stage: its share of the weights, and of what the forward pass keeps. */
function holdShares(seat: Seat): void {
  const kept = keptAsColumns.filter((name) => name !== "m" || !madeAgain(seat.problem).includes(name));
  seat.program.hold(...splitWeights.map((name) => seat.weight(name)), ...kept.map((name) => seat.all(name)));
  seat.shards.gather(seat.rank, ["g1", "g2"]);
}

function writeForward(seat: Seat): void {
  const { program } = seat;
  holdShares(seat);
  normed(seat, "x", "g1", "n1");
  seat.allGather("n1");
  for (const name of ["q", "k"] as const) {
    program.compute("linear", [seat.all("n1"), seat.weight(`w${name}`), seat.all(`${name}0`)]);
    program.compute("rotary", [seat.all(`${name}0`), seat.all(name)]);
  }
  program.compute("linear", [seat.all("n1"), seat.weight("wv"), seat.all("v")]);
  attend(seat);
  program.compute("linear", [seat.all("o"), seat.weight("wo"), seat.all("h", 1 + seat.rank)]);
  addOwn(seat, "x", "h");
  seat.reduceScatter("h");
  normed(seat, "h", "g2", "n2");
  seat.allGather("n2");
  for (const [weight, name] of [
    ["wg", "gate"],
    ["wu", "up"],
  ] as const)
    program.compute("linear", [seat.all("n2"), seat.weight(weight), seat.all(name)]);
  program.compute("swiglu", [seat.all("gate"), seat.all("up"), seat.all("m")]);
  program.compute("linear", [seat.all("m"), seat.weight("wd"), seat.all("y", 1 + seat.rank)]);
  addOwn(seat, "h", "y");
  seat.reduceScatter("y");
}

function writeBackward(seat: Seat): void {
  const { program } = seat;
  holdShares(seat);
  program.hold(...splitWeights.map((weight) => seat.weight(gradientOf(weight))));
  seat.allGather("dy");
  if (madeAgain(seat.problem).includes("m"))
    program.compute("swiglu", [seat.all("gate"), seat.all("up"), seat.all("m")]);
  program.compute("linearInputGradient", [seat.all("dy"), seat.weight("wd"), seat.all("dm")]);
  program.compute("linearWeightGradient", [seat.all("m"), seat.all("dy"), seat.weight("dwd")]);
  const activation = ["gate", "up", "dm", "dgate", "dup"].map((name) => seat.all(name));
  program.compute("swigluGradient", activation);
  normed(seat, "h", "g2", "n2");
  seat.allGather("n2");
  unproject(seat, "n2", "dn2", [
    ["dgate", "wg"],
    ["dup", "wu"],
  ]);
  seat.reduceScatter("dn2");
  addOwn(seat, "dy", "dh");
  unnormed(seat, "h", "g2", "dn2", "dh");
  seat.allGather("dh");
  program.compute("linearInputGradient", [seat.all("dh"), seat.weight("wo"), seat.all("do")]);
  program.compute("linearWeightGradient", [seat.all("o"), seat.all("dh"), seat.weight("dwo")]);
  program.compute("rowDot", [seat.all("o"), seat.all("do"), seat.all("delta")]);
  attend(seat);
  for (const name of ["dq", "dk"]) program.compute("rotaryGradient", [seat.all(name), seat.all(`${name}0`)]);
  normed(seat, "x", "g1", "n1");
  seat.allGather("n1");
  unproject(seat, "n1", "dn1", [
    ["dq0", "wq"],
    ["dk0", "wk"],
    ["dv", "wv"],
  ]);
  seat.reduceScatter("dn1");
  addOwn(seat, "dh", "dx");
  unnormed(seat, "x", "g1", "dn1", "dx");
  seat.shards.reduce(seat.rank, ["g1", "g2"]);
}

/** All queries and keys, with the heads of this rank. */
function attend({ builder, layout, heads, program }: Seat): void {
  const sequence = [{ begin: 0, end: layout.flat().reduce((end, range) => Math.max(end, range.end), 0) }];
  for (const tile of shardTiles(builder.problem, sequence, sequence))
    program.attend(tile, { headBegin: heads[0], headEnd: heads[1] });
}

/** Own rows of `to` = norm of those of `from`. */
function normed(seat: Seat, from: string, gain: string, to: string): void {
  seat.own(from).forEach((rows, i) => {
    seat.program.compute("rmsNorm", [rows, seat.shards.whole(gain), seat.own(to)[i]]);
  });
}

function unnormed(seat: Seat, x: string, gain: string, dn: string, dx: string): void {
  seat.own(x).forEach((rows, i) => {
    const blocks = [rows, seat.shards.whole(gain), seat.own(dn)[i], seat.own(dx)[i], seat.gainShare(gain)];
    seat.program.compute("rmsNormGradient", blocks);
  });
}

function addOwn(seat: Seat, from: string, to: string): void {
  seat.own(from).forEach((rows, i) => {
    seat.program.compute("add", [rows, seat.own(to)[i]]);
  });
}

/** Gradients of weights, and this rank's partial sum of the gradient of their input `n`. */
function unproject(
  seat: Seat,
  n: string,
  dn: string,
  products: readonly (readonly [dy: string, weight: string])[],
): void {
  for (const [dy, weight] of products) {
    seat.program.compute("linearWeightGradient", [seat.all(n), seat.all(dy), seat.weight(gradientOf(weight))]);
    seat.program.compute("linearInputGradient", [seat.all(dy), seat.weight(weight), seat.all(dn, 1 + seat.rank)]);
  }
}
