import { type Block, type Schedule, ScheduleBuilder } from "@hsap/schedule";
import { evenLayout, type OpSample, problemOn, type SampleOptions } from "./op-samples.ts";

/** Every rank exchanges so many blocks with every other, again and again. */
interface Exchange {
  readonly ranks: number;
  readonly groups: number;
  readonly blocks: number;
  readonly tokens: number;
}

const exchanges: readonly Exchange[] = [
  { ranks: 2, groups: 40, blocks: 1, tokens: 1 },
  { ranks: 2, groups: 40, blocks: 1, tokens: 64 },
  { ranks: 2, groups: 10, blocks: 1, tokens: 512 },
  { ranks: 2, groups: 20, blocks: 24, tokens: 1 },
  { ranks: 2, groups: 10, blocks: 24, tokens: 64 },
  { ranks: 4, groups: 20, blocks: 1, tokens: 1 },
  { ranks: 4, groups: 10, blocks: 1, tokens: 256 },
  { ranks: 8, groups: 10, blocks: 1, tokens: 16 },
  { ranks: 8, groups: 5, blocks: 8, tokens: 16 },
];

/** Groups of few and many messages, blocks and bytes. */
export function transferSamples({ dtype }: SampleOptions): OpSample[] {
  return exchanges.map((exchange) => ({
    label: `${exchange.ranks} ranks exchange ${exchange.blocks} x ${exchange.tokens} tokens`,
    schedule: allToAll(exchange, dtype),
    handOver: "copy",
  }));
}

/** Two ranks that hand a token back and forth: each sleeps until the other has done something. */
export function pingPong({ dtype }: SampleOptions, messages = 200): OpSample {
  const tokens = 2 * messages;
  const builder = builderOn(2, tokens, dtype);
  for (let i = 0; i < messages; i++) {
    const from = i % 2;
    const blocks = [builder.block("k", { begin: from * messages + i, end: from * messages + i + 1 })];
    builder.rank(from).exchange("p2p", [{ to: 1 - from, blocks }]);
    builder.rank(1 - from).exchange("p2p", [{ from, blocks }]);
  }
  return { label: "ping-pong", schedule: finished(builder), handOver: "copy" };
}

function allToAll({ ranks, groups, blocks, tokens }: Exchange, dtype: SampleOptions["dtype"]): Schedule {
  const ofGroup = blocks * tokens;
  const own = groups * ofGroup;
  const builder = builderOn(ranks, ranks * own, dtype);
  const sent = (from: number, group: number): Block[] =>
    Array.from({ length: blocks }, (_, i) => {
      const begin = from * own + group * ofGroup + i * tokens;
      return builder.block("k", { begin, end: begin + tokens });
    });
  for (let rank = 0; rank < ranks; rank++) {
    const others = Array.from({ length: ranks - 1 }, (_, i) => (rank + 1 + i) % ranks);
    for (let group = 0; group < groups; group++) {
      builder.rank(rank).exchange(
        "p2p",
        others.flatMap((other) => [
          { to: other, blocks: sent(rank, group) },
          { from: other, blocks: sent(other, group) },
        ]),
      );
    }
  }
  return finished(builder);
}

function builderOn(ranks: number, tokens: number, dtype: SampleOptions["dtype"]): ScheduleBuilder {
  const shape = { heads: 2, kvHeads: 2, headDim: 64, dtype };
  return new ScheduleBuilder(
    problemOn(ranks, [tokens], shape, "forward"),
    "sample",
    {},
    evenLayout(ranks, tokens / ranks),
  );
}

/** A schedule must compute something: one token's attention is nothing beside what it sends. */
function finished(builder: ScheduleBuilder): Schedule {
  builder.rank(0).attend({ qBegin: 0, qEnd: 1, kBegin: 0, kEnd: 1, mask: "full" });
  return builder.finish();
}
