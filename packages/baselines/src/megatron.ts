import { sequenceParallel } from "@hsap/model";
import { reference } from "./reference.ts";

/**
 * Megatron-LM with sequence parallelism: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models",
 * arXiv 2205.05198; tensor parallelism: Shoeybi et al., arXiv 1909.08053; published runs add data-parallel groups, and split the optimiser
 * over them: Narayanan et al., arXiv 2104.04473.
 *
 * Sharding: norms, residuals and both ends of the model work on contiguous pieces of the sequence; inside of attention and of the
 * feed-forward part each of P tensor ranks has the whole sequence and 1/P of the heads, or of the columns. Weights are split alike.
 * Forward: an all-gather of the normed rows before each part, a reduce-scatter of its partial sums after it. Backward: the same the other
 * way round, and the normed rows are gathered once more for the weights' gradients instead of being kept.
 * Volume of a layer: forward 4 (P-1)/P * N*hidden*e, backward 6 (P-1)/P * N*hidden*e, whatever the documents, N tokens of a group; and the
 * gradients of the gains, and of the weights between groups, reduce-scattered. Partial sums travel as activations do.
 * Memory: x and h of N/P tokens; q, k, v, o and two rows of the feed-forward part for all tokens, 1/P of their columns.
 * Balance: perfect inside a group, whatever the documents.
 * Constraints: P divides the kv heads and the column groups of the feed-forward part.
 */
export const megatron = sequenceParallel(reference, "replicated", {
  name: "megatron",
  summary: "Heads and feed-forward columns split; all-gather before and reduce-scatter after each part of a layer.",
  citation: "Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198",
});
