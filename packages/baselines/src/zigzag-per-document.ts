import { type Problem, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { lengthsOf, packedBatch } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { chunksOfDocument, ringOperands } from "./operand-estimate.ts";
import { gradientTensors, isSet, publishedFp32Gradients } from "./published-behaviour.ts";
import { attendRound, wholeRing } from "./ring.ts";
import { zigzagShardsOfDocuments } from "./shard.ts";

/**
 * Zigzag ring attention over packs as public ring-flash-attention (`zigzag_ring_flash_attn_varlen`) and Megatron's context
 * parallelism cut them: every document by itself, so that every document is balanced.
 *
 * Sharding: each document is cut in 2P chunks; rank r owns chunks r and 2P-1-r of every document. The published systems need
 * equal chunks, so they pad each document to a multiple of 2P (`pad=true`: the schedule is then over the padded documents);
 * by default chunks differ by at most one token and nothing is padded.
 * Volume: forward (P-1)/P * KV; backward 2(P-1)/P * KV, as ring, KV with the padding where documents are padded.
 * Memory: as ring, but two ranges for each document.
 * Balance: exact for documents of 2P equal chunks. A short document is spread over all ranks all the same, in pieces of a few
 * tokens, so tiles become small; a document of fewer than 2P tokens leaves ranks without any of it.
 * Constraints: none. `fp32Gradients=true` as for ring.
 */
export const zigzagPerDocument: Strategy = {
  name: "zigzag-per-document",
  summary: "Ring attention over 2P chunks of every document, rank r owning an early and a late one of each.",
  citation: "ring-flash-attention (zhuzilin), Megatron-LM context parallelism",
  degreeNames: ["ring"],
  defaultDegrees: (problem) => ({ ring: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ ring: ranksOf(problem) }],
  options: {
    pad: { summary: "pad every document to a multiple of 2P tokens, as published", default: false, published: true },
    fp32Gradients: publishedFp32Gradients,
  },

  estimatedOperands: (problem) => ringOperands(problem, chunksOfDocument(problem)),

  compile(problem, degrees, options = {}) {
    const checked = checkedDegrees(zigzagPerDocument, problem, degrees);
    const padded = isSet("pad", options) ? paddedToChunks(problem, checked.ring) : problem;
    const shards = zigzagShardsOfDocuments(padded, checked.ring);
    const builder = new ScheduleBuilder(
      padded,
      "zigzag-per-document",
      checked,
      shards,
      gradientTensors(padded, options),
    );
    attendRound(builder, wholeRing(padded, shards));
    return builder.finish();
  },
};

/** The problem with every document lengthened to a multiple of 2P tokens. */
export function paddedToChunks(problem: Problem, ranks: number): Problem {
  const chunks = 2 * ranks;
  const lengths = lengthsOf(problem.batch).map((length) => Math.ceil(length / chunks) * chunks);
  return { ...problem, batch: packedBatch(lengths) };
}
