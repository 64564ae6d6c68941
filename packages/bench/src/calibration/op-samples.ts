import { clusterOf } from "@hsap/cluster";
import {
  type AttentionShape,
  type Block,
  type Dtype,
  type Layout,
  layoutOf,
  type Pass,
  type Problem,
  type Schedule,
  ScheduleBuilder,
  type TensorSpec,
  type TokenRange,
} from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";

/** A schedule of like ops on every core at once, whose processor time is to be measured. */
export interface OpSample {
  readonly label: string;
  readonly schedule: Schedule;
  /** Whether what could be handed over as a pointer is copied all the same. */
  readonly handOver?: "copy";
}

export interface SampleOptions {
  readonly cores: number;
  readonly dtype: Dtype;
}

/** Queries and keys of a tile; `offset` of a causal one: how far its first query stands behind its first key. */
interface TileSize {
  readonly queries: number;
  readonly keys: number;
  readonly offset?: number;
}

/** Whole documents, pieces of long ones against all keys before them, and pieces against others. */
const tileSizes: readonly TileSize[] = [
  ...[8, 24, 50, 100, 200, 450, 1000, 1500].map((tokens) => ({ queries: tokens, keys: tokens, offset: 0 })),
  { queries: 60, keys: 300, offset: 240 },
  { queries: 256, keys: 1280, offset: 1024 },
  { queries: 8, keys: 8 },
  { queries: 8, keys: 200 },
  { queries: 30, keys: 30 },
  { queries: 200, keys: 8 },
  { queries: 64, keys: 128 },
  { queries: 13, keys: 1000 },
  { queries: 256, keys: 256 },
  { queries: 700, keys: 100 },
  { queries: 512, keys: 1024 },
];

/** Four heads for each kv head as models have them, and one; two head dimensions tell what depends on it from what does not. */
const shapes = [
  { heads: 8, kvHeads: 2, headDim: 64 },
  { heads: 4, kvHeads: 4, headDim: 64 },
  { heads: 8, kvHeads: 2, headDim: 128 },
  { heads: 2, kvHeads: 2, headDim: 128 },
] as const;

/** About as many pairs x heads x headDim as take a few milliseconds. */
const sampleWork = 4e7;
const mostTokens = 6000;

/** Tiles of many sizes. */
export function attendSamples(pass: Pass, { cores, dtype }: SampleOptions): OpSample[] {
  return shapes.flatMap((shape) =>
    tileSizes.map((size) => ({
      label: `${pass} ${size.queries} x ${size.keys}${size.offset === undefined ? "" : " causal"}, ${shape.heads}/${shape.kvHeads} x ${shape.headDim}`,
      schedule: tiles(size, pass, { ...shape, dtype }, cores),
    })),
  );
}

function tiles({ queries, keys, offset }: TileSize, pass: Pass, shape: AttentionShape, cores: number): Schedule {
  const length = offset === undefined ? keys + queries : Math.max(keys, offset + queries);
  const work = queries * keys * shape.heads * shape.headDim * (offset === 0 ? 0.5 : 1);
  const count = Math.max(1, Math.min(Math.floor(mostTokens / length), Math.ceil(sampleWork / work)));
  const problem = problemOn(cores, new Array<number>(cores * count).fill(length), shape, pass);
  const builder = new ScheduleBuilder(problem, "sample", {}, evenLayout(cores, count * length));
  for (let document = 0; document < cores * count; document++) {
    const begin = document * length;
    const program = builder.rank(Math.floor(document / count));
    const k = { kBegin: begin, kEnd: begin + keys };
    if (offset === undefined) program.attend({ qBegin: begin + keys, qEnd: begin + length, ...k, mask: "full" });
    else program.attend({ qBegin: begin + offset, qEnd: begin + offset + queries, ...k, mask: "causal" });
  }
  return builder.finish();
}

/** Rows of one tensor each, small and large. */
const rowCounts = [4, 64, 700, 3000];
/** `empty`: a reduction of nothing only sets its target to 0. */
const elementKinds = ["merge", "reduce", "copy", "empty"] as const;

const pairOfHeads = { heads: 2, kvHeads: 2 } as const;

/** What goes over elements once. */
export function elementSamples({ cores, dtype }: SampleOptions): OpSample[] {
  return elementKinds.flatMap((kind) =>
    [64, 128].flatMap((headDim) =>
      rowCounts.map((tokens) => ({
        label: `${kind} ${tokens} x 2 x ${headDim}`,
        // What is merged, summed or emptied accumulates, in fp32 whatever travels.
        schedule: elementOps(kind, tokens, { ...pairOfHeads, headDim, dtype: kind === "copy" ? dtype : "fp32" }, cores),
      })),
    ),
  );
}

function elementOps(
  kind: (typeof elementKinds)[number],
  tokens: number,
  shape: AttentionShape,
  cores: number,
): Schedule {
  const count = Math.max(1, Math.floor(mostTokens / tokens / 4));
  const length = tokens * count;
  const problem = problemOn(cores, new Array<number>(cores).fill(length), shape, "forward");
  const specs: TensorSpec[] = ["a", "b"].map((name) => ({
    name,
    heads: shape.kvHeads,
    width: shape.headDim,
    dtype: shape.dtype,
    role: "internal" as const,
    accumulates: false,
  }));
  const accumulator = { ...specs[0], name: "c", accumulates: true };
  const builder = new ScheduleBuilder(problem, "sample", {}, evenLayout(cores, length), [...specs, accumulator]);
  for (let rank = 0; rank < cores; rank++) {
    const program = builder.rank(rank);
    for (let i = 0; i < count; i++) {
      const rows = { begin: rank * length + i * tokens, end: rank * length + (i + 1) * tokens };
      const partial = (part: number) => [
        builder.block("o", rows, undefined, part),
        builder.block("lse", rows, undefined, part),
      ];
      if (kind === "merge") program.merge([...partial(0), ...partial(1), ...partial(2)]);
      else if (kind === "reduce")
        program.reduce(builder.block("c", rows), builder.block("k", rows), builder.block("v", rows));
      else if (kind === "empty") program.reduce(builder.block("c", rows));
      else program.copy(builder.block("a", rows), builder.block("k", rows));
    }
  }
  return builder.finish();
}

/** Queries, and keys of each part: the scores of large ones lie in memory, not in a cache. */
const rectangles = [
  { queries: 16, keys: 16, parts: 1 },
  { queries: 64, keys: 512, parts: 1 },
  { queries: 128, keys: 64, parts: 4 },
  { queries: 512, keys: 64, parts: 1 },
  { queries: 256, keys: 256, parts: 2 },
  { queries: 512, keys: 512, parts: 8 },
  { queries: 1024, keys: 1024, parts: 4 },
] as const;
type Rectangle = (typeof rectangles)[number];

/** What unfused attention is made of, one step after another on the same scores. */
export function unfusedSamples(pass: Pass, { cores, dtype }: SampleOptions): OpSample[] {
  return [
    { heads: 4, kvHeads: 4, headDim: 64 },
    { heads: 2, kvHeads: 2, headDim: 128 },
  ].flatMap((shape) =>
    rectangles.map((rectangle) => ({
      label: `unfused ${pass} ${rectangle.queries} x ${rectangle.parts} x ${rectangle.keys}, ${shape.heads} x ${shape.headDim}`,
      schedule: unfused(rectangle, { ...shape, dtype }, pass, cores),
    })),
  );
}

function unfused(rectangle: Rectangle, shape: AttentionShape, pass: Pass, cores: number): Schedule {
  const { queries, keys, parts } = rectangle;
  const work = queries * keys * parts * shape.heads * shape.headDim;
  const count = Math.max(1, Math.min(8, Math.floor(sampleWork / 2 / work)));
  const each = queries + parts * keys;
  const problem = problemOn(cores, new Array<number>(cores).fill(each * count), shape, pass);
  const scores: TensorSpec = {
    ...{ name: "s", heads: shape.heads, width: keys, dtype: "fp32" },
    ...{ role: "internal", accumulates: false },
  };
  const builder = new ScheduleBuilder(problem, "sample", {}, evenLayout(cores, each * count), [scores]);
  for (let i = 0; i < cores * count; i++) unfusedSteps(builder, Math.floor(i / count), i * each, rectangle);
  return builder.finish();
}

function unfusedSteps(
  builder: ScheduleBuilder,
  rank: number,
  begin: number,
  { queries, keys, parts }: Rectangle,
): void {
  const program = builder.rank(rank);
  const q = { begin: begin + parts * keys, end: begin + parts * keys + queries };
  const at = (names: readonly string[], tokens: TokenRange): Block[] =>
    names.map((name) => builder.block(name, tokens));
  const all = Array.from({ length: parts }, (_, part) => ({
    k: { begin: begin + part * keys, end: begin + (part + 1) * keys },
    s: builder.block("s", q, undefined, part),
  }));
  for (const { k, s } of all) program.compute("score", [...at(["q"], q), ...at(["k"], k), s], "full");
  program.compute("softmax", [...at(["lse"], q), ...all.map(({ s }) => s)]);
  if (builder.problem.pass === "forward") {
    for (const { k, s } of all) program.compute("weigh", [s, ...at(["v"], k), ...at(["o"], q)]);
    return;
  }
  for (const { k, s } of all)
    program.compute("weigh", [s, ...at(["v"], k), ...at(["do", "delta"], q), ...at(["dv"], k)]);
  for (const { k, s } of all)
    program.compute("unscore", [s, ...at(["q"], q), ...at(["k"], k), ...at(["dq"], q), ...at(["dk"], k)]);
}

/** Every rank owns the next so many tokens. */
export function evenLayout(ranks: number, tokens: number): Layout {
  return layoutOf(Array.from({ length: ranks }, (_, rank) => [{ begin: rank * tokens, end: (rank + 1) * tokens }]));
}

export function problemOn(ranks: number, lengths: readonly number[], shape: AttentionShape, pass: Pass): Problem {
  const cluster = clusterOf({ ranks, ranksPerNode: ranks });
  return { batch: packedBatch(lengths), shape, cluster, mask: "causal", pass };
}
