import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Block,
  type Op,
  programOf,
  type Schedule,
  ScheduleBuilder,
  type Transfer,
  verify,
  worldSizeOf,
} from "../src/index.ts";
import { isRightByElements } from "./dense-replay.ts";
import { smallProblem, smallRing } from "./small-ring.ts";

const anyRing = fc
  .record({
    lengths: fc.constantFrom([7], [4, 3], [1, 6], [3, 1, 2]),
    ranks: fc.integer({ min: 2, max: 4 }),
    mask: fc.constantFrom("causal" as const, "full" as const),
    pass: fc.constantFrom("forward" as const, "backward" as const),
  })
  .map((sketch) => smallRing(smallProblem({ ...sketch, shape: { heads: 2, kvHeads: 1, headDim: 2 } })));

/** Numbers from which a mutation draws what it needs; each is taken modulo what it chooses from. */
const anyDice = fc.array(fc.nat(10_000), { minLength: 8, maxLength: 8 });

type Programs = Op[][];

/** A mutation changes programs in place. */
type Mutation = (programs: Programs, dice: readonly number[], schedule: Schedule) => void;

const pick = <T>(values: readonly T[], die: number): T => values[die % values.length];

/** Any op: its rank, its place, and the op itself. */
function pickOp(
  programs: Programs,
  die: number,
  kinds?: readonly string[],
): { program: Op[]; at: number; op: Op } | undefined {
  const all = programs.flatMap((program) =>
    program.map((op, at) => ({ program, at, op })).filter(({ op }) => kinds === undefined || kinds.includes(op.kind)),
  );
  return all.length === 0 ? undefined : pick(all, die);
}

/** Replaces some blocks of an op by `change` of them. */
const withBlocks = (op: Op, change: (block: Block, i: number) => Block): Op =>
  ({ ...op, blocks: op.blocks.map(change) }) as Op;

/** Moves one bound of a block, so that it stays inside its tensor and is not empty. */
function moved(block: Block, dice: readonly number[], schedule: Schedule): Block {
  const heads = schedule.tensors.find(({ name }) => name === block.tensor)?.heads ?? 1;
  const tokens = schedule.problem.batch.cuSeqlens.at(-1) ?? 1;
  const bounded = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));
  const by = pick([-3, -1, 1, 2], dice[1]);
  switch (pick(["tokenBegin", "tokenEnd", "headBegin", "headEnd"] as const, dice[0])) {
    case "tokenBegin":
      return { ...block, tokenBegin: bounded(block.tokenBegin + by, 0, block.tokenEnd - 1) };
    case "tokenEnd":
      return { ...block, tokenEnd: bounded(block.tokenEnd + by, block.tokenBegin + 1, tokens) };
    case "headBegin":
      return { ...block, headBegin: bounded(block.headBegin + by, 0, block.headEnd - 1) };
    case "headEnd":
      return { ...block, headEnd: bounded(block.headEnd + by, block.headBegin + 1, heads) };
  }
}

const mutations: Record<string, Mutation> = {
  "drops an op": (programs, [die]) => {
    const picked = pickOp(programs, die);
    picked?.program.splice(picked.at, 1);
  },
  "duplicates a computation": (programs, [die]) => {
    const picked = pickOp(programs, die, ["attend", "reduce"]);
    picked?.program.splice(picked.at, 0, picked.op);
  },
  "drops both sides of a transfer": (programs, [die]) => {
    const sent = pickOp(programs, die, ["send"]);
    if (sent?.op.kind !== "send") return;
    const { peer, blocks } = sent.op;
    const other = programs[peer].findIndex(
      (op) =>
        op.kind === "recv" &&
        programs[op.peer] === sent.program &&
        JSON.stringify(op.blocks) === JSON.stringify(blocks),
    );
    programs[peer].splice(other, 1);
    sent.program.splice(sent.program.indexOf(sent.op), 1);
  },
  "changes a block": (programs, [die, at, ...dice], schedule) => {
    const picked = pickOp(programs, die);
    if (picked === undefined) return;
    const changed = at % picked.op.blocks.length;
    picked.program[picked.at] = withBlocks(picked.op, (block, i) =>
      i === changed ? moved(block, dice, schedule) : block,
    );
  },
  "changes the queries or the keys of a tile": (programs, [die, side, ...dice], schedule) => {
    const picked = pickOp(programs, die, ["attend"]);
    if (picked === undefined) return;
    const keys = side % 2 === 0;
    picked.program[picked.at] = withBlocks(picked.op, (block) =>
      ["k", "v", "dk", "dv"].includes(block.tensor) === keys ? moved(block, dice, schedule) : block,
    );
  },
  "changes a sum's number": (programs, [die, at, part]) => {
    const picked = pickOp(programs, die);
    if (picked === undefined) return;
    const changed = at % picked.op.blocks.length;
    picked.program[picked.at] = withBlocks(picked.op, (block, i) =>
      i === changed ? { ...block, part: part % 4 } : block,
    );
  },
  "puts one tensor for another": (programs, [die, at, tensor], { tensors }) => {
    const picked = pickOp(programs, die);
    if (picked === undefined) return;
    const changed = at % picked.op.blocks.length;
    const { name } = pick(tensors, tensor);
    picked.program[picked.at] = withBlocks(picked.op, (block, i) =>
      i === changed ? { ...block, tensor: name } : block,
    );
  },
  "changes a mask": (programs, [die]) => {
    const picked = pickOp(programs, die, ["attend"]);
    if (picked?.op.kind !== "attend") return;
    picked.program[picked.at] = { ...picked.op, mask: picked.op.mask === "full" ? "causal" : "full" };
  },
  "changes a peer": (programs, [die, peer]) => {
    const picked = pickOp(programs, die, ["send", "recv"]);
    if (picked === undefined) return;
    picked.program[picked.at] = { ...picked.op, peer: peer % programs.length } as Op;
  },
  "swaps two ops": (programs, [rank, at]) => {
    const program = pick(programs, rank);
    if (program.length < 2) return;
    const i = at % (program.length - 1);
    [program[i], program[i + 1]] = [program[i + 1], program[i]];
  },
};

function rebuilt({ problem, strategy, degrees, layout }: Schedule, programs: Programs): Schedule {
  const builder = new ScheduleBuilder(problem, strategy, degrees, layout);
  programs.forEach((program, rank) => {
    let group: { number: number; transfers: Transfer[] } | undefined;
    const close = () => {
      if (group !== undefined) builder.rank(rank).exchange("p2p", group.transfers);
      group = undefined;
    };
    for (const op of program) {
      if (op.kind === "send" || op.kind === "recv") {
        if (group?.number !== op.group) close();
        group ??= { number: op.group, transfers: [] };
        group.transfers.push(
          op.kind === "send" ? { to: op.peer, blocks: op.blocks } : { from: op.peer, blocks: op.blocks },
        );
      } else {
        close();
        builder.rank(rank).compute(op.kind, op.blocks, op.kind === "attend" ? op.mask : "full");
      }
    }
    close();
  });
  return builder.finish();
}

const programsOf = (schedule: Schedule): Programs =>
  Array.from({ length: worldSizeOf(schedule) }, (_, rank) => [...programOf(schedule, rank)]);

describe("verify, on rings with one mistake", () => {
  it("is given right schedules to start from", () => {
    fc.assert(
      fc.property(anyRing, (ring) => {
        expect(rebuilt(ring, programsOf(ring))).toEqual(ring);
        expect(isRightByElements(ring)).toBe(true);
        expect(verify(ring)).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it.each(Object.entries(mutations))("agrees with a replay of every element when a mutation %s", (_, mutation) => {
    fc.assert(
      fc.property(anyRing, anyDice, (ring, dice) => {
        const programs = programsOf(ring);
        mutation(programs, dice, ring);
        const mutated = rebuilt(ring, programs);
        expect(verify(mutated).length === 0).toBe(isRightByElements(mutated));
      }),
      { numRuns: 100 },
    );
  });

  it("agrees after several mutations too", () => {
    fc.assert(
      fc.property(
        anyRing,
        fc.array(fc.tuple(fc.constantFrom(...Object.values(mutations)), anyDice), { maxLength: 3 }),
        (ring, all) => {
          const programs = programsOf(ring);
          for (const [mutation, dice] of all) mutation(programs, dice, ring);
          const mutated = rebuilt(ring, programs);
          expect(verify(mutated).length === 0).toBe(isRightByElements(mutated));
        },
      ),
      { numRuns: 200 },
    );
  });
});
