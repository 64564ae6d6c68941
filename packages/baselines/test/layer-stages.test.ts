import { clusterOf } from "@hsap/cluster";
import {
  attentionProblemOf,
  type LayerStrategy,
  type ModelProblem,
  modelNamed,
  sequenceParallel,
  stageNames,
} from "@hsap/model";
import {
  accountOf,
  decodeSchedule,
  encodeSchedule,
  formatSchedule,
  parseSchedule,
  type Schedule,
  verify,
} from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { baselines, megatron } from "../src/index.ts";

function problemOf(ranks: number, lengths: readonly number[]): ModelProblem {
  return {
    model: modelNamed("tiny"),
    batch: packedBatch(lengths),
    cluster: clusterOf({ ranks }),
    dtype: "fp32",
    lossChunk: 16,
  };
}

function findings(strategy: LayerStrategy, problem: ModelProblem): string[] {
  const schedules = strategy.compile(problem, strategy.defaultDegrees(problem));
  return stageNames.flatMap((stage) => verify(schedules[stage]).map(({ message }) => `${stage}: ${message}`));
}

describe("a layer around any attention strategy", () => {
  for (const attention of baselines) {
    const ranks = attention.name === "reference" ? 1 : 4;
    for (const placement of ["replicated", "sharded"] as const) {
      it(`${attention.name} on ${ranks} ranks with ${placement} weights passes the verifier`, () => {
        const strategy = sequenceParallel(attention, placement);
        expect(findings(strategy, problemOf(ranks, [13, 40, 1, 27, 19]))).toEqual([]);
      });
    }
  }
});

describe("megatron", () => {
  it("passes the verifier on 1, 2 and 4 ranks", () => {
    for (const ranks of [1, 2, 4]) expect(findings(megatron, problemOf(ranks, [13, 40, 1, 27, 19]))).toEqual([]);
  });

  it("receives 4 (P-1)/P * N*hidden*e forward and 6 backward, and the gradients of two gains", () => {
    const [ranks, tokens] = [4, 64];
    const problem = problemOf(ranks, [40, 24]);
    const { layerForward, layerBackward } = megatron.compile(problem, { tensor: ranks });
    const rows = ((ranks - 1) / ranks) * tokens * problem.model.hidden * 4;
    const gains = 2 * ((ranks - 1) / ranks) * problem.model.hidden * 4;
    expect(Array.from(accountOf(layerForward).receivedBytes.perRank)).toEqual(Array(ranks).fill(4 * rows));
    expect(Array.from(accountOf(layerBackward).receivedBytes.perRank)).toEqual(Array(ranks).fill(6 * rows + gains));
  });

  it("refuses degrees that do not split heads and columns", () => {
    expect(() => megatron.compile(problemOf(8, [64]), { tensor: 8 })).toThrow(
      "invalid degree: tensor=8 (megatron splits 4 kv heads: must divide them)",
    );
  });
});

describe("the verifier on the stages of a layer", () => {
  const problem = problemOf(2, [9, 14, 3]);
  const stagesOf = (name: string) => {
    if (name === "megatron") return megatron.compile(problem, { tensor: 2 });
    const attention = baselines.find((each) => each.name === name);
    if (attention === undefined) throw new Error(`no ${name}`);
    return sequenceParallel(attention, "sharded").compile(
      problem,
      attention.defaultDegrees(attentionProblemOf(problem, "forward")),
    );
  };

  for (const name of ["ulysses", "ring", "megatron"]) {
    for (const stage of stageNames) {
      it(`finds every computation of ${name}'s ${stage} that is left out or done twice`, () => {
        const lines = formatSchedule(stagesOf(name)[stage]).split("\n");
        // The ring brings the second rank a sum of what queries before its keys add to their gradients: nothing.
        const idle = /reduce d[kv]\[13:26 h0:4\] <- d[kv]#1/;
        const computations = lines.flatMap((line, i) =>
          /^ {2}(?!group)[a-zA-Z]/.test(line) && !idle.test(line) ? [i] : [],
        );
        expect(computations.length).toBeGreaterThan(0);
        for (const i of computations) {
          const without = parseSchedule(lines.toSpliced(i, 1).join("\n"));
          expect(messages(without), `without ${lines[i]}`).not.toEqual([]);
          // Setting the same value again changes nothing; adding it again does.
          const twice = parseSchedule(lines.toSpliced(i, 0, lines[i]).join("\n"));
          if (addsUp(twice, lines[i])) expect(messages(twice), `twice ${lines[i]}`).not.toEqual([]);
        }
      });
    }
  }

  it("finds a sum over ranks that is read before it is complete", () => {
    const text = formatSchedule(stagesOf("ring").layerBackward);
    // The owner takes its own share of a gradient for all of it.
    const short = text.replace(/^( {2}reduce dwq\S+ \S+ <- dwq#1\S+ \S+) dwq#2.*$/m, "$1");
    expect(short).not.toEqual(text);
    expect(messages(parseSchedule(short)).join("\n")).toMatch(
      /coverage: rank 0, dwq.*lacks 13:26 of linearWeightGradient n1 dq0/,
    );
  });

  it("keeps a stage through its text and binary form", () => {
    for (const stage of stageNames) {
      const schedule = stagesOf("ulysses")[stage];
      expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
      expect(decodeSchedule(encodeSchedule(schedule))).toEqual(schedule);
    }
  });
});

const messages = (schedule: Schedule): string[] => verify(schedule).map(({ message }) => message);

/** Whether the op of a line adds to its target. */
function addsUp({ tensors }: Schedule, line: string): boolean {
  // A reduce without sources only makes its target.
  if (!/ <- | -> /.test(line)) return false;
  const target = line.includes(" <- ") ? line.trim().split(" ")[1] : line.split(" -> ")[1];
  const names = target.split(" ").map((block) => block.replace(/[#[].*/, ""));
  return (
    !line.trim().startsWith("copy") && names.some((name) => tensors.find((spec) => spec.name === name)?.accumulates)
  );
}
