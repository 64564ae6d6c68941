import { opAt, programOf } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  engineInfo,
  kernelIsas,
  type RunOptions,
  type RunResult,
  referenceAttention,
  relativeError,
  run,
} from "../src/index.ts";
import { ringByHand, type SmallProblem, smallProblem } from "./ring-by-hand.ts";

const lengths = [5, 65, 1, 89, 40];

/** Runs both passes of a problem by ring and compares them with the float64 reference. */
async function errorsOfRing(given: Omit<SmallProblem, "pass">, options: RunOptions = {}) {
  const forward = smallProblem({ ...given, pass: "forward" });
  const backward = smallProblem({ ...given, pass: "backward" });
  const expected = await referenceAttention({ problem: forward, seed: options.seed ?? 1, threads: 1 });
  const ahead = await run(ringByHand(forward), options);
  const back = await run(ringByHand(backward), { ...options, saved: ahead.outputs });
  const errorOf = (result: RunResult, name: "o" | "lse" | "dq" | "dk" | "dv") =>
    relativeError(result.outputs[name], expected[name]);
  return {
    forward: Math.max(errorOf(ahead, "o"), errorOf(ahead, "lse")),
    backward: Math.max(errorOf(back, "dq"), errorOf(back, "dk"), errorOf(back, "dv")),
  };
}

describe("run", () => {
  for (const isa of kernelIsas()) {
    for (const ranks of [1, 2, 3, 5]) {
      it(`agrees with float64 attention on ${ranks} ranks with ${isa} kernels`, async () => {
        const errors = await errorsOfRing({ lengths, ranks }, { isa });
        expect(errors.forward).toBeLessThanOrEqual(1e-6);
        expect(errors.backward).toBeLessThanOrEqual(3e-6);
      });
    }
  }

  it("agrees with float64 attention for any documents, heads and ranks", async () => {
    const problems = fc.record({
      // Where every document is one token, dq and dk are 0, and no error relative to them is small; near there, some are not.
      lengths: fc
        .array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 })
        .filter((lengths) => lengths.some((length) => length >= 8)),
      ranks: fc.integer({ min: 1, max: 4 }),
      kvHeads: fc.constantFrom(1, 2, 4),
      headDim: fc.constantFrom(8, 64, 80, 128),
      mask: fc.constantFrom("causal" as const, "full" as const),
    });
    await fc.assert(
      fc.asyncProperty(problems, async (given) => {
        const errors = await errorsOfRing(given);
        expect(errors.forward).toBeLessThanOrEqual(1e-6);
        expect(errors.backward).toBeLessThanOrEqual(3e-6);
      }),
      { numRuns: 25 },
    );
  });

  for (const isa of kernelIsas()) {
    it(`rounds the inputs of a bf16 problem and what travels, on ${isa} kernels`, async () => {
      const here = await errorsOfRing({ lengths, ranks: 1, dtype: "bf16" }, { isa });
      // Dot products of bf16 pairs round the probabilities of a forward pass, whose results the backward pass starts from; all
      // other kernels widen their inputs.
      const rounds = isa === "avx512bf16";
      expect(here.forward).toBeLessThanOrEqual(rounds ? 2e-3 : 1e-6);
      expect(here.backward).toBeLessThanOrEqual(rounds ? 2e-3 : 3e-6);
      // Gradients that travel are rounded to 8 bits of mantissa.
      const travelling = await errorsOfRing({ lengths, ranks: 3, dtype: "bf16" }, { isa });
      expect(travelling.forward).toBeLessThanOrEqual(rounds ? 2e-3 : 1e-6);
      expect(travelling.backward).toBeGreaterThan(1e-5);
      expect(travelling.backward).toBeLessThan(4e-3);
    });
  }

  it("takes dot products of bf16 pairs for bf16 problems where the processor has them", async () => {
    const best = kernelIsas().includes("avx512bf16") ? "avx512bf16" : engineInfo().isa;
    const isaOf = async (dtype: "fp32" | "bf16") =>
      (await run(ringByHand(smallProblem({ lengths, ranks: 1, pass: "forward", dtype })))).isa;
    expect(await isaOf("bf16")).toBe(best);
    expect(await isaOf("fp32")).toBe(engineInfo().isa);
  });

  it("gives the same bits twice, with and without aliases", async () => {
    for (const pass of ["forward", "backward"] as const) {
      const problem = smallProblem({ lengths, ranks: 3, pass });
      const schedule = ringByHand(problem);
      const { outputs: saved } = await run(ringByHand({ ...problem, pass: "forward" }));
      const digests = new Set<string>();
      for (const handOver of ["alias", "alias", "copy", "copy"] as const) {
        digests.add((await run(schedule, { handOver, saved })).digest);
      }
      expect(digests.size).toBe(1);
      digests.add((await run(schedule, { seed: 2, saved })).digest);
      expect(digests.size).toBe(2);
    }
  });

  it("changes only the perturbed document", async () => {
    const problem = smallProblem({ lengths, ranks: 3, pass: "forward" });
    const schedule = ringByHand(problem);
    const plain = await run(schedule);
    const perturbed = await run(schedule, { perturb: { tokenBegin: 5, tokenEnd: 70, seed: 2 } });
    const { heads, headDim } = problem.shape;
    for (let head = 0; head < heads; head++) {
      for (let token = 0; token < 200; token++) {
        const row = (result: RunResult) => result.outputs.o.subarray((head * 200 + token) * headDim).slice(0, headDim);
        const changed = row(plain).some((value, column) => value !== row(perturbed)[column]);
        expect(changed, `head ${head}, token ${token}`).toBe(token >= 5 && token < 70);
      }
    }
  });

  it("measures every op, lane by lane, within the run's duration", async () => {
    const schedule = ringByHand(smallProblem({ lengths, ranks: 3, pass: "forward" }));
    const { trace, arenaBytes } = await run(schedule);
    expect(trace.origin).toBe("measured");
    expect(arenaBytes).toHaveLength(3);
    for (let rank = 0; rank < 3; rank++) {
      let computedUs = 0;
      for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
        expect(trace.beginUs[row]).toBeGreaterThanOrEqual(0);
        expect(trace.endUs[row]).toBeGreaterThanOrEqual(trace.beginUs[row]);
        expect(trace.endUs[row]).toBeLessThanOrEqual(trace.durationUs);
        if (opAt(schedule, row).kind !== "attend") continue;
        expect(trace.beginUs[row]).toBeGreaterThanOrEqual(computedUs - 1e-6);
        expect(trace.busyUs[row]).toBeGreaterThan(0);
        computedUs = trace.endUs[row];
      }
    }
  });

  it("starts the rows of a group together", async () => {
    const schedule = ringByHand(smallProblem({ lengths, ranks: 3, pass: "forward" }));
    const { trace } = await run(schedule);
    for (let rank = 0; rank < 3; rank++) {
      const begins = new Map<number, number>();
      [...programOf(schedule, rank)].forEach((op, i) => {
        if (op.kind !== "send" && op.kind !== "recv") return;
        const begin = trace.beginUs[schedule.opBegin[rank] + i];
        expect(begins.get(op.group) ?? begin).toBe(begin);
        begins.set(op.group, begin);
      });
      expect(begins.size).toBe(2);
    }
  });

  it("lets runs go on side by side, off the JavaScript thread", async () => {
    const schedules = [1, 2, 3].map((ranks) => ringByHand(smallProblem({ lengths, ranks, pass: "forward" })));
    const alone: string[] = [];
    for (const schedule of schedules) alone.push((await run(schedule)).digest);
    const together = await Promise.all(schedules.map((schedule) => run(schedule)));
    expect(together.map(({ digest }) => digest)).toEqual(alone);
  });
});
