/**
 * One rank of the jobs that the tests start: mpi-rank.mjs CASE. Rank 0 prints what it found as one line of JSON. It runs from
 * dist, as ranks do.
 */
import { clusterOf } from "@hsap/cluster";
import { packedBatch } from "@hsap/workload";
import { asRank, compileWith, rankPlaceOf, runHere, strategies, strategyNamed } from "../dist/index.js";

const cases = { bits, disagreement, fault };

/** Every strategy, forward and backward, over the job's ranks and on threads: which runs had other bits. */
async function bits({ run, world, job }) {
  const report = { ranks: world.ranks, hosts: job.ranks.map(({ host }) => host), runs: 0, different: [] };
  for (const dtype of ["fp32", "bf16"]) {
    const problem = problemOf(world.ranks, dtype);
    for (const strategy of strategies) {
      if (strategy.candidateDegrees(problem).length === 0) continue;
      const forward = compileWith(strategy, problem);
      const saved = await bothWays(forward, {}, run, report);
      const backward = compileWith(strategy, { ...problem, pass: "backward" });
      await bothWays(backward, { saved }, run, report);
    }
  }
  return report;
}

async function bothWays(compiled, options, run, report) {
  const here = await runHere(compiled, { seed: 3, ...options });
  const there = await run(compiled, { seed: 3, ...options });
  // Outputs that are known stay with their ranks; the digest must say so all the same.
  const again = await run(compiled, { seed: 3, ...options, knownDigest: here.digest });
  report.runs++;
  const sameOutputs = Object.entries(here.outputs).every(([name, values]) => equalBits(values, there.outputs[name]));
  const traced = there.trace.endUs.every((end) => end > 0) && there.trace.durationUs > 0;
  if (!sameOutputs || there.digest !== here.digest || again.digest !== here.digest || !traced)
    report.different.push(
      `${compiled.schedule.strategy} ${compiled.schedule.problem.pass} ${compiled.schedule.problem.shape.dtype}`,
    );
  return { o: here.outputs.o, lse: here.outputs.lse };
}

/** Rank 1 compiles for other documents than the rest. */
async function disagreement({ run, world }) {
  await run(compileWith(strategyNamed("ring"), problemOf(world.ranks, "fp32")), { seed: 1 });
  return {};
}

async function fault({ run, world }) {
  const compiled = compileWith(strategyNamed("ring"), problemOf(world.ranks, "fp32"));
  await run(compiled, { seed: 1 });
  await run(compiled, { seed: 1, failAt: { rank: 1, op: 2 } });
  return {};
}

function problemOf(ranks, dtype) {
  return {
    batch: packedBatch([61, 7, 1, 30, 2 * ranks + 1, 48]),
    shape: { heads: 8, kvHeads: 4, headDim: 64, dtype },
    cluster: clusterOf({ ranks, ranksPerNode: Math.max(1, ranks / 2) }),
    mask: "causal",
    pass: "forward",
  };
}

function equalBits(a, b) {
  return (
    Buffer.compare(
      Buffer.from(a.buffer, a.byteOffset, a.byteLength),
      Buffer.from(b.buffer, b.byteOffset, b.byteLength),
    ) === 0
  );
}

const name = process.argv[2];
if (name === "disagreement" && rankPlaceOf(process.env)?.rank === 1) {
  const ring = strategyNamed("ring");
  const { compile } = ring;
  ring.compile = (problem, degrees, options) => compile({ ...problem, batch: packedBatch([13]) }, degrees, options);
}
if (name === "fault") process.stderr.write(`pid ${process.pid}\n`);
const report = await asRank(cases[name]);
if (report !== undefined) process.stdout.write(`${JSON.stringify(report)}\n`);
