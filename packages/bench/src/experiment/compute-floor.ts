import {
  evenRanges,
  layoutOf,
  type Problem,
  ranksOf,
  ScheduleBuilder,
  type Strategy,
  tilesBetween,
} from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";

/**
 * The compute floor of a problem, to be measured beside its strategies: the pack's own documents, computed by all ranks in equal
 * shares with nothing to send and nothing to wait for. Each rank has the heads of its share from the start, and leaves there what it
 * makes. So that its gradients are whole without exchange, each query head has a kv head of its own; a rank attends with one
 * or few heads either way, so this computes as much. No schedule for all can be faster, but for how well tiles suit the kernels.
 */
export const computeFloor: Strategy = {
  name: "compute-floor",
  summary: "The computation alone: heads in equal shares, which lie there before and after.",
  citation: "a yardstick of this project, no system",
  degreeNames: ["heads"],
  defaultDegrees: (problem) => ({ heads: ranksOf(problem) }),
  candidateDegrees: (problem) => (refusal(problem) === undefined ? [{ heads: ranksOf(problem) }] : []),

  compile(problem, { heads: ranks }) {
    const reason = refusal(problem);
    if (reason !== undefined) throw new InputError(reason);
    const { heads } = problem.shape;
    const own: Problem = { ...problem, shape: { ...problem.shape, kvHeads: heads } };
    const sequence = { begin: 0, end: tokensOf(problem.batch) };
    const layout = layoutOf(evenRanges(sequence.end, ranks).map((range) => [range]));
    const builder = new ScheduleBuilder(own, computeFloor.name, { heads: ranks }, layout);
    const tensors = builder.tensors.map(({ name }) => name);
    const tiles = tilesBetween(problem.batch, problem.mask, sequence, sequence);
    for (let rank = 0; rank < ranks; rank++) {
      const [headBegin, headEnd] = [(rank * heads) / ranks, ((rank + 1) * heads) / ranks];
      const program = builder.rank(rank);
      program.hold(...tensors.map((name) => builder.block(name, sequence, [headBegin, headEnd])));
      for (const tile of tiles) program.attend(tile, { headBegin, headEnd });
    }
    return builder.finish();
  },
};

function refusal(problem: Problem): string | undefined {
  const { heads } = problem.shape;
  const ranks = ranksOf(problem);
  return heads % ranks === 0 ? undefined : `invalid ranks: ${ranks} (the compute floor splits ${heads} heads evenly)`;
}
