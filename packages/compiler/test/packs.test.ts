import { readFileSync } from "node:fs";
import { clusterOf } from "@hsap/cluster";
import { accountOf, type Pass, type Problem } from "@hsap/schedule";
import { namedPack, packNames } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { hsap } from "../src/index.ts";
import { wasteOf } from "./traffic.ts";

const peers = new Map(
  readFileSync(new URL("../../workload/packs/planner-peer.csv", import.meta.url), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","))
    .map(([mix, ranks, , , , , , , between]) => [`${mix}-${ranks}`, Number(between)]),
);

/** The most bytes between nodes, as a multiple of the peer's if each of its tokens entered a node only once. */
const mostBetweenNodes: Readonly<Record<string, number>> = {
  hybrid: 0.35,
  code: 0.35,
  magilaw: 0.35,
  meetings: 0.35,
  instruct: 0,
  single: 0.85,
};

function packProblem(name: string, pass: Pass = "forward"): Problem {
  return {
    batch: namedPack(name),
    shape: { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" },
    cluster: clusterOf({ ranks: Number(name.split("-")[1]), ranksPerNode: 8 }),
    mask: "causal",
    pass,
  };
}

const flat = (problem: Problem) => ({ ulysses: 1, sap: problem.cluster.ranks });

describe("hsap on the fixed packs", () => {
  for (const name of packNames()) {
    it(`gives every rank equal tokens and equal area, and moves only what is needed: ${name}`, () => {
      const problem = packProblem(name);
      const schedule = hsap.compile(problem, flat(problem));
      const account = accountOf(schedule);
      expect(account.area.balance).toBeLessThanOrEqual(1.02);
      for (const tokens of account.tokens.perRank) {
        expect(Math.abs(tokens / account.tokens.mean - 1)).toBeLessThanOrEqual(0.01);
      }
      expect(wasteOf(schedule)).toEqual({ enteredAgain: 0, leftAgain: 0, receivedAgain: 0, unread: 0 });
      const most = mostBetweenNodes[name.split("-")[0]] * (peers.get(name) as number) * 2 ** 30;
      expect(account.betweenNodesBytes).toBeLessThanOrEqual(most);
    });
  }

  it("sends gradients back the same ways: as many bytes between nodes as keys and values took there", () => {
    for (const name of ["hybrid-32", "code-64", "meetings-64", "single-32"]) {
      const [forward, backward] = (["forward", "backward"] as const).map((pass) => {
        const problem = packProblem(name, pass);
        return hsap.compile(problem, flat(problem));
      });
      expect(wasteOf(backward)).toEqual({ enteredAgain: 0, leftAgain: 0, receivedAgain: 0, unread: 0 });
      expect(accountOf(backward).betweenNodesBytes).toBe(2 * accountOf(forward).betweenNodesBytes);
      expect(accountOf(backward).area.balance).toBe(accountOf(forward).area.balance);
    }
  });

  it("moves nothing for nothing at any degree", () => {
    const problem = packProblem("hybrid-32");
    // Lanes that share a kv head each receive it.
    for (const degrees of hsap.candidateDegrees(problem).filter(({ ulysses }) => ulysses <= problem.shape.kvHeads)) {
      expect(wasteOf(hsap.compile(problem, degrees)).enteredAgain).toBe(0);
      expect(wasteOf(hsap.compile(problem, degrees)).unread).toBe(0);
    }
  });

  it("makes the same schedule from the same problem", () => {
    for (const name of ["hybrid-64", "instruct-32"]) {
      const problem = packProblem(name, "backward");
      const again = packProblem(name, "backward");
      expect(hsap.compile(again, flat(again))).toEqual(hsap.compile(problem, flat(problem)));
    }
  });
});
