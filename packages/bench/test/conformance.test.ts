import { readFileSync } from "node:fs";
import { zigzag } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import { type RunOptions, run } from "@hsap/engine";
import {
  type Dtype,
  encodeSchedule,
  formatSchedule,
  type Problem,
  parseSchedule,
  ScheduleBuilder,
  type Strategy,
  type StrategyOptions,
  verify,
} from "@hsap/schedule";
import { InputError, packedBatch, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { type Expected, errorBound, errorsOf, expectedOf, savedFrom, wrongOutputs } from "../src/accuracy.ts";
import { compileWith } from "../src/compiled.ts";
import { whyNoMpi } from "../src/launch/usable-mpi.ts";
import { strategies } from "../src/strategies.ts";
import { faultOf } from "../src/verification/verification-suite.ts";
import { verifyCase } from "../src/verification/verified-case.ts";
import { startRanks } from "./mpi-job.ts";

/**
 * Each of these failures was reported publicly against some system for parallel attention. Every strategy must pass all of
 * them, forward and backward; `hsap verify` goes on from here to more packs, ranks and degrees.
 */
interface Sketch {
  readonly lengths: readonly number[];
  readonly ranks: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly dtype?: Dtype;
  readonly mask?: Problem["mask"];
}

interface Failure {
  /** What went wrong elsewhere. */
  readonly name: string;
  readonly problems: readonly Sketch[];
  /** Strategies that do not support such a problem, and say so, besides `reference`, which has one rank. */
  readonly refusedBy?: readonly string[];
  /** How many documents are perturbed, each by itself; 1 where left out. */
  readonly probes?: number;
  /** Options that the strategies which have them need to get it right; all are right by default where left out. */
  readonly options?: StrategyOptions;
}

const failures: readonly Failure[] = [
  { name: "documents of 1, 7, 2P-1 and 2P+1 tokens", problems: [{ lengths: [1, 7, 7, 9, 1], ranks: 4 }] },
  { name: "lengths that divide by nothing", problems: [{ lengths: [13, 31, 17], ranks: 4 }] },
  { name: "documents that lie on one rank only", problems: [{ lengths: [8, 8, 8, 8], ranks: 4 }] },
  { name: "a rank with no work, for there are fewer tokens than ranks", problems: [{ lengths: [2, 1], ranks: 4 }] },
  {
    name: "blocks that are fully masked, so that a softmax over them is not a number",
    problems: [
      { lengths: [3, 3, 3, 3, 3, 3, 3, 3], ranks: 4 },
      { lengths: [30, 1, 1, 2], ranks: 4, mask: "full" },
    ],
  },
  { name: "an empty tail, where rounding up gives the last ranks nothing", problems: [{ lengths: [4, 1], ranks: 4 }] },
  {
    name: "more ranks than kv heads",
    problems: [
      { lengths: [40, 9], ranks: 8, heads: 8, kvHeads: 2 },
      { lengths: [21, 5], ranks: 4, heads: 4, kvHeads: 1 },
    ],
  },
  {
    name: "a number of ranks that is no power of two",
    problems: [
      { lengths: [23, 8], ranks: 3, heads: 6, kvHeads: 3 },
      { lengths: [31, 2, 11], ranks: 6, heads: 12, kvHeads: 6 },
    ],
    refusedBy: ["hybrid-cp"],
  },
  {
    name: "grouped and multi-query heads",
    problems: [
      { lengths: [29, 6], ranks: 4, heads: 16, kvHeads: 4 },
      { lengths: [29, 6], ranks: 2, heads: 6, kvHeads: 2 },
      { lengths: [29, 6], ranks: 2, heads: 4, kvHeads: 1 },
    ],
  },
  ...[64, 80, 96, 128, 256].map((headDim) => ({
    name: `heads of ${headDim} elements`,
    problems: [{ lengths: [19, 6], ranks: 2, headDim }],
  })),
  {
    name: "bf16 inputs with more than twice the error of one device, which rounds its results to bf16",
    // A ring that rounds sums at every hop errs by more: see the test below.
    options: { fp32Gradients: true },
    problems: [
      { lengths: [31, 9, 24], ranks: 4, dtype: "bf16" },
      { lengths: [40, 17], ranks: 8, heads: 8, kvHeads: 4, headDim: 80, dtype: "bf16" },
    ],
  },
  {
    name: "a token that reaches another document (every document is perturbed, one after another)",
    problems: [{ lengths: [11, 1, 26, 5, 2], ranks: 4 }],
    probes: Number.POSITIVE_INFINITY,
  },
];

/** What a table over strategies cannot hold, with the reason. */
const notYet = [
  [
    "positions that restart at each document",
    "rotary positions are applied before attention: the engine is given q and k",
  ],
] as const;

/** Failures of kernels, which no strategy can change: inputs of a schedule have variance 1, so its logits are never large. */
const nativeTests = [
  ["kernels_forward_test.cpp", "large logits neither overflow nor lose the sum"],
  ["kernels_merge_test.cpp", "partials far apart, huge or empty merge without overflow and without NaN"],
  ["kernels_merge_test.cpp", "two empty partials stay empty"],
] as const;

describe.each(failures.map((failure) => [failure.name, failure] as const))("%s", (_, failure) => {
  const { problems, refusedBy = [], probes = 1 } = failure;
  const optionsOf = ({ options = {} }: Strategy) =>
    Object.fromEntries(Object.entries(failure.options ?? {}).filter(([name]) => Object.hasOwn(options, name)));
  it.each(strategies.map((strategy) => [strategy.name, strategy] as const))("%s", async (name, strategy) => {
    for (const problem of problems.map(problemOf)) {
      const supported = name !== "reference" && !refusedBy.includes(name);
      expect(strategy.candidateDegrees(problem).length > 0).toBe(supported);
      if (supported) await expectRight(strategy, problem, probes, optionsOf(strategy));
      else expect(() => strategy.compile(problem, strategy.defaultDegrees(problem))).toThrow(InputError);
      // The reference has one rank, and must do right there what the others do on several.
      if (name === "reference") await expectRight(strategy, { ...problem, cluster: clusterOf({ ranks: 1 }) }, probes);
    }
  });
});

describe("ranks that disagree about the number of operations", () => {
  it.each(parallelStrategies())("are refused by the verifier, not waited for: %s", (_, strategy) => {
    for (const pass of ["forward", "backward"] as const) {
      const problem = { ...problemOf({ lengths: [40, 9], ranks: 4 }), pass };
      const lines = formatSchedule(strategy.compile(problem, strategy.defaultDegrees(problem))).split("\n");
      for (const kind of ["send", "recv"]) {
        const last = lines.findLastIndex((line) => line.trim().startsWith(kind));
        const short = parseSchedule(lines.filter((_, i) => i !== last).join("\n"));
        expect(new Set(verify(short).map(({ rule }) => rule))).toContain("matching");
      }
    }
  });
});

describe("the same problem twice", () => {
  it.each(parallelStrategies())(
    "gives the same schedule, and the same bits whether blocks are lent or copied: %s",
    async (_, strategy) => {
      const problem = problemOf({ lengths: [26, 1, 13], ranks: 4 });
      const expected = await referenceFor(problem);
      for (const pass of ["forward", "backward"] as const) {
        const compile = () => compileWith(strategy, { ...problem, pass }).schedule;
        const schedule = compile();
        expect(Buffer.from(encodeSchedule(compile())).equals(Buffer.from(encodeSchedule(schedule)))).toBe(true);
        const options: RunOptions = pass === "backward" ? { saved: savedFrom(expected) } : {};
        const digests = [await run(schedule, options), await run(schedule, { ...options, handOver: "copy" })];
        expect(digests[1].digest).toBe(digests[0].digest);
      }
    },
  );
});

describe("other bits on another transport", { timeout: 180_000 }, () => {
  // mpi.test.ts has more ranks, and what happens when one of them fails.
  it("are given by no strategy over mpi, in either pass, in fp32 or bf16", async ({ skip }) => {
    const reason = whyNoMpi();
    if (reason !== undefined) return skip(reason);
    const { out } = await startRanks(4, "bits");
    const { runs, different } = JSON.parse(out[0]);
    expect(different).toEqual([]);
    expect(runs).toBe(2 * 2 * (strategies.length - 1));
  });
});

describe("partials in fp32", () => {
  it.each([2, 3, 7, 16, 33, 64])(
    "are merged to attention's own result, %i at once or one into the next",
    async (partials) => {
      for (const order of ["at once", "one into the next"] as const) {
        const schedule = mergeOf(partials, order);
        expect(verify(schedule)).toEqual([]);
        const expected = await referenceFor(schedule.problem);
        const { outputs } = await run(schedule);
        expect(wrongOutputs(errorsOf("forward", outputs, expected), "fp32")).toEqual([]);
      }
    },
  );
});

describe("sums that a ring rounds to bf16 at every hop", () => {
  it("err by more than twice one rounding on 8 ranks, and by less if gradients travel in fp32", async () => {
    const problem = problemOf({ lengths: [40, 17], ranks: 8, heads: 8, kvHeads: 4, headDim: 80, dtype: "bf16" });
    const expected = await referenceFor(problem);
    const errorOfDk = async (options: StrategyOptions) => {
      const given = { degrees: zigzag.defaultDegrees(problem), options, seed: 1, expected, probes: 1 };
      return (await verifyCase(zigzag, problem, given)).errors.dk ?? Number.NaN;
    };
    expect(await errorOfDk({})).toBeGreaterThan(errorBound("dk", "bf16"));
    expect(await errorOfDk({ fp32Gradients: true })).toBeLessThanOrEqual(errorBound("dk", "bf16"));
  });
});

describe("failures of the kernels themselves", () => {
  it.each(nativeTests)("are tested in %s: %s", (file, name) => {
    const source = readFileSync(new URL(`../../../native/test/kernels/${file}`, import.meta.url), "utf8");
    expect(source).toContain(`TEST("${name}")`);
  });
});

describe("not yet tested:", () => {
  it.for(notYet)("%s", ([, reason], { skip }) => {
    skip(reason);
  });
});

function problemOf({
  lengths,
  ranks,
  heads = 4,
  kvHeads = 2,
  headDim = 64,
  dtype = "fp32",
  mask = "causal",
}: Sketch): Problem {
  return {
    batch: packedBatch(lengths),
    shape: { heads, kvHeads, headDim, dtype },
    cluster: clusterOf({ ranks, ranksPerNode: Math.min(ranks, ranks % 3 === 0 ? 3 : 2) }),
    mask,
    pass: "forward",
  };
}

function parallelStrategies(): [string, Strategy][] {
  return strategies.flatMap((strategy) => (strategy.name === "reference" ? [] : [[strategy.name, strategy]]));
}

async function expectRight(
  strategy: Strategy,
  problem: Problem,
  probes: number,
  options: StrategyOptions = {},
): Promise<void> {
  const degrees = strategy.defaultDegrees(problem);
  const expected = await referenceFor(problem);
  const result = await verifyCase(strategy, problem, { degrees, options, seed: 1, expected, probes });
  expect(faultOf(result)).toBeUndefined();
  expect(result.runs).toBeGreaterThan(4);
}

/** The float64 results of each problem, computed once for all strategies. */
function referenceFor(problem: Problem): Promise<Expected> {
  const { batch, shape, mask } = problem;
  const key = JSON.stringify([[...batch.cuSeqlens], shape, mask]);
  const known = references.get(key) ?? expectedOf(problem, 1, 2);
  references.set(key, known);
  return known;
}

const references = new Map<string, Promise<Expected>>();

/**
 * A schedule of one rank whose result comes from one partial for every two keys. Each is as long as the document, so its rows
 * before its keys are empty: one into the next, most merges join two empty partials.
 */
function mergeOf(partials: number, order: "at once" | "one into the next") {
  const problem = problemOf({ lengths: [2 * partials], ranks: 1, heads: 2, kvHeads: 1 });
  const tokens = { begin: 0, end: tokensOf(problem.batch) };
  const builder = new ScheduleBuilder(problem, "merge", {}, [[tokens]]);
  const program = builder.rank(0);
  const pair = (part: number) => ["o", "lse"].map((tensor) => builder.block(tensor, tokens, undefined, part));
  const parts = Array.from({ length: partials }, (_, i) => 1 + i);
  for (const part of parts) {
    const keys = { kBegin: 2 * (part - 1), kEnd: 2 * part };
    program.attend({ qBegin: 0, qEnd: tokens.end, ...keys, mask: "causal" }, { part });
  }
  if (order === "at once") program.merge([...pair(0), ...parts.flatMap(pair)]);
  else for (const part of parts.reverse()) program.merge([...pair(part - 1), ...pair(part)]);
  return builder.finish();
}
