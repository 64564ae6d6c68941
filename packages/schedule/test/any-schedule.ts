import fc from "fast-check";
import { type Block, layoutOf, type Schedule, ScheduleBuilder, type Transfer } from "../src/index.ts";
import { smallProblem } from "./small-ring.ts";

const tokens = 12;
const parts = [0, 0, 0, 3];

/** Any block of a tensor: of any part, unless it is an input. */
const anyBlock = (tensor: string): fc.Arbitrary<Block> =>
  fc
    .tuple(fc.nat(tokens - 1), fc.integer({ min: 1, max: 5 }), fc.nat(1), fc.integer({ min: 1, max: 2 }), fc.nat(3))
    .map(([tokenBegin, length, headBegin, heads, part]) => ({
      tensor,
      part: parts[part],
      tokenBegin,
      tokenEnd: Math.min(tokens, tokenBegin + length),
      headBegin,
      headEnd: Math.min(2, headBegin + heads),
    }));

const anyTransferBlock = fc.constantFrom("k", "v", "o", "lse").chain(anyBlock);

type Step = (builder: ScheduleBuilder) => void;

const rank = fc.nat(1);

const anyExchange: fc.Arbitrary<Step> = fc
  .tuple(rank, fc.array(fc.tuple(fc.boolean(), fc.array(anyTransferBlock, { maxLength: 3 })), { maxLength: 3 }))
  .map(([at, transfers]) => (builder) => {
    const peer = 1 - at;
    builder.rank(at).exchange(
      "p2p",
      transfers.map(([sends, blocks]): Transfer => (sends ? { to: peer, blocks } : { from: peer, blocks })),
    );
  });

const anyComputation: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(rank, ...["q", "k", "v", "o", "lse"].map(anyBlock)).map(
    ([at, ...blocks]): Step =>
      (builder) =>
        builder.rank(at).compute("attend", blocks as Block[], "full"),
  ),
  fc
    .tuple(
      rank,
      fc.constantFrom("o", "k", "lse").chain((name) => fc.tuple(anyBlock(name), anyBlock(name))),
    )
    .map(
      ([at, [target, source]]): Step =>
        (builder) =>
          builder.rank(at).reduce(target, source),
    ),
);

/** Programs for two ranks that need not make any sense: blocks overlap as they like, and no transfer need be answered. */
export const anySchedule = (): fc.Arbitrary<Schedule> =>
  fc
    .tuple(fc.integer({ min: 0, max: tokens }), fc.array(fc.oneof(anyExchange, anyComputation), { maxLength: 14 }))
    .map(([border, steps]) => {
      const problem = smallProblem({ lengths: [tokens], ranks: 2, shape: { heads: 2, kvHeads: 2 } });
      const layout = layoutOf([[{ begin: 0, end: border }], [{ begin: border, end: tokens }]]);
      const builder = new ScheduleBuilder(problem, "any", { any: 2 }, layout);
      for (const step of steps) step(builder);
      return builder.finish();
    });
