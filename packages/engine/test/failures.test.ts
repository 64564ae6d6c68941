import { type LoweredSchedule, lower } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { EngineError, type Isa, type RunOptions, referenceAttention, run } from "../src/index.ts";
import { ringByHand, smallProblem } from "./ring-by-hand.ts";

const problem = smallProblem({ lengths: [40, 9, 71], ranks: 3, pass: "forward" });
const schedule = ringByHand(problem);

/** The error that a run ends with. */
async function failureOf(options: RunOptions, of = schedule): Promise<unknown> {
  try {
    await run(of, options);
  } catch (error) {
    return error;
  }
  throw new Error("the run did not fail");
}

describe("a run that fails", () => {
  it("ends with the error of the rank that threw, whichever op it was", async () => {
    for (let rank = 0; rank < 3; rank++) {
      const ops = schedule.opBegin[rank + 1] - schedule.opBegin[rank];
      for (let op = 0; op < ops; op++) {
        const error = await failureOf({ failAt: { rank, op } });
        expect(error).toBeInstanceOf(EngineError);
        expect(error).toMatchObject({ code: "rank-failed" });
        expect((error as Error).message).toMatch(
          new RegExp(`^rank ${rank}, op ${op} \\(\\w+\\) failed: injected fault$`),
        );
      }
    }
  });

  it("ends with the signal's reason when it was aborted before it began", async () => {
    const reason = new Error("enough");
    expect(await failureOf({ signal: AbortSignal.abort(reason) })).toBe(reason);
  });

  it("ends with the signal's reason when it is aborted on its way", async () => {
    // So much work that it cannot have ended by the time of the abort, in pieces that can be stopped between.
    const large = ringByHand(smallProblem({ lengths: [150_000], ranks: 2, heads: 1, kvHeads: 1, pass: "forward" }));
    const controller = new AbortController();
    const failure = failureOf({ signal: controller.signal }, large);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await failure).toBe(reason);
  });

  it("is a reference that ends with the signal's reason, too", async () => {
    const large = smallProblem({ lengths: [20_000], ranks: 1, heads: 1, kvHeads: 1, pass: "forward" });
    const controller = new AbortController();
    const failure = referenceAttention({ problem: large, seed: 1, threads: 2, signal: controller.signal }).catch(
      (e) => e,
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await failure).toBe(reason);
  });

  it("is aborted where it waits for a slow link", async () => {
    const controller = new AbortController();
    const failure = failureOf({ signal: controller.signal, linkBytesPerSecond: 1 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort();
    expect(await failure).toMatchObject({ name: "AbortError" });
  });

  it("says what is wrong with its options", async () => {
    const cases: [RunOptions, string][] = [
      [{ seed: -1 }, "invalid seed: -1 (must be a whole number from 0 to 2^53 - 1)"],
      [{ isa: "sse9" as Isa }, "unsupported isa: sse9"],
      [{ handOver: "teleport" as "copy" }, "invalid handOver: teleport (must be alias or copy)"],
      [
        { perturb: { tokenBegin: 0, tokenEnd: 121, seed: 2 } },
        "invalid perturb: tokens 0 to 121 (must be a range within 120 tokens)",
      ],
      [{ linkBytesPerSecond: Number.NaN }, "invalid linkBytesPerSecond: NaN"],
    ];
    for (const [options, message] of cases) {
      const error = await failureOf(options);
      expect(error).toBeInstanceOf(EngineError);
      expect((error as Error).message).toContain(message);
    }
  });

  it("asks for what the forward pass saved", async () => {
    const backward = ringByHand({ ...problem, pass: "backward" });
    expect(await failureOf({}, backward)).toMatchObject({ message: expect.stringContaining("missing saved") });
    const saved = { o: new Float32Array(3), lse: new Float32Array(1) };
    expect(await failureOf({ saved }, backward)).toMatchObject({
      message: "invalid saved: 3 and 1 elements (must be 30720 of o and 480 of lse)",
    });
  });

  it("refuses an input problem that no engine could run", async () => {
    const broken = { ...schedule, problem: { ...problem, shape: { ...problem.shape, kvHeads: 3 } } };
    expect(await failureOf({}, broken)).toMatchObject({ code: "invalid-input" });
  });

  it("refuses threads that are no count", async () => {
    await expect(referenceAttention({ problem, seed: 1, threads: 0 })).rejects.toThrow("invalid threads: 0");
  });
});

describe("a corrupt program", () => {
  const lowered = lower(schedule);
  const changed = (change: (copy: LoweredSchedule) => void): LoweredSchedule => {
    const copy = structuredClone(lowered);
    change(copy);
    return copy;
  };
  const cases: [string, (copy: LoweredSchedule) => void, RegExp][] = [
    ["an unknown kind of op", (t) => t.op.kind.fill(77, 0, 1), /op row 0 has kind 77/],
    [
      "an operand of another rank's region",
      (t) => t.operand.region.fill(t.region.tensor.length - 1, 0, 1),
      /not of its rank/,
    ],
    ["an operand beyond its region", (t) => t.operand.tokenEnd.fill(100_000, 0, 1), /has operand \[0:100000/],
    ["a region beyond the arena", (t) => t.rank.arenaBytes.fill(64), /region 0 at offset 0/],
    ["a region between cache lines", (t) => t.region.offset.fill(3, 0, 1), /must be a multiple of 64/],
    ["a peer that does not exist", (t) => t.op.peer.fill(3, 0, 1), /has peer 3/],
    ["a wait that never ends", (t) => t.op.waitFor.fill(1000), /waits for 1000/],
    ["ranks that fall", (t) => t.rank.opBegin.fill(1000, 1, 2), /rank.opBegin falls from 1000/],
  ];
  for (const [what, change, message] of cases) {
    it(`with ${what} is refused`, async () => {
      const error = await failureOf({ lowered: changed(change) });
      expect(error).toMatchObject({ code: "corrupt-program", message: expect.stringMatching(message) });
    });
  }

  it("with a send that nobody takes is refused instead of hanging", async () => {
    const copy = changed((t) => {
      const row = t.op.kind.indexOf(1);
      t.op.peer[row] = (t.op.peer[row] + 1) % 3;
    });
    expect(await failureOf({ lowered: copy })).toMatchObject({ code: "corrupt-program" });
  });

  it("without a column is refused", async () => {
    const { offset: _, ...region } = lowered.region;
    const broken = { ...lowered, region } as unknown as LoweredSchedule;
    expect(await failureOf({ lowered: broken })).toMatchObject({ code: "invalid-argument" });
  });
});
