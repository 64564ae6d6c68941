import { documentsOf, InputError, lengthsOf, type PackedBatch, packedBatch, tokensOf } from "@hsap/workload";
import type { ModelProblem } from "../model-problem.ts";
import { layerParameters } from "../presets.ts";

/** A batch split over data-parallel groups by whole documents. */
export interface DataGroups {
  /** All documents, those of the first group first. */
  readonly batch: PackedBatch;
  /** The documents of each group by themselves, and its first token in `batch`. */
  readonly groups: readonly { readonly batch: PackedBatch; readonly firstToken: number }[];
  /** What the group that has most to compute has, over the mean of all. */
  readonly imbalance: number;
}

/**
 * Gives every document to one of `data` groups: the longest first, each to the group with the least to compute so far, where a document
 * costs the products of its tokens and the attention of its area. Inside a group documents keep their order. One that is longer than a
 * group's share is not cut: `imbalance` tells what that costs.
 *
 * @throws InputError if there are fewer documents than groups.
 */
export function dataGroups({ batch, model }: Pick<ModelProblem, "batch" | "model">, data: number): DataGroups {
  if (data === 1) return { batch, groups: [{ batch, firstToken: 0 }], imbalance: 1 };
  if (documentsOf(batch) < data)
    throw new InputError(
      `invalid degree: data=${data} (each group needs a document, the pack has ${documentsOf(batch)})`,
    );
  const lengths = lengthsOf(batch);
  const cost = (length: number) =>
    6 * layerParameters(model) * length + 6 * model.heads * model.headDim * length * (length + 1);
  const load = new Float64Array(data);
  const groupOf = new Int32Array(lengths.length);
  const longestFirst = Array.from(lengths, (_, document) => document).sort((a, b) => lengths[b] - lengths[a] || a - b);
  for (const document of longestFirst) {
    const least = load.reduce((best, sum, group) => (sum < load[best] ? group : best), 0);
    groupOf[document] = least;
    load[least] += cost(lengths[document]);
  }
  const batches = Array.from(load, (_, group) => packedBatch(lengths.filter((_, i) => groupOf[i] === group)));
  let firstToken = 0;
  const groups = batches.map((own) => {
    const begin = firstToken;
    firstToken += tokensOf(own);
    return { batch: own, firstToken: begin };
  });
  return {
    batch: packedBatch(batches.flatMap((own) => Array.from(lengthsOf(own)))),
    groups,
    imbalance: (Math.max(...load) * data) / load.reduce((sum, own) => sum + own, 0),
  };
}

/**
 * For each token of `to` the token of `from` that it is, where `to` has the documents of `from` in another order. Documents of one length
 * may stand for each other, as all that a schedule knows of them is their length.
 *
 * @throws Error if `to` has a document that `from` has not.
 */
export function tokenOrder(from: PackedBatch, to: PackedBatch): Int32Array {
  const beginsOf = new Map<number, number[]>();
  lengthsOf(from).forEach((length, document) => {
    const begins = beginsOf.get(length);
    if (begins === undefined) beginsOf.set(length, [from.cuSeqlens[document]]);
    else begins.push(from.cuSeqlens[document]);
  });
  for (const begins of beginsOf.values()) begins.reverse();
  const order = new Int32Array(tokensOf(to));
  lengthsOf(to).forEach((length, document) => {
    const begin = beginsOf.get(length)?.pop();
    if (begin === undefined) throw new Error(`a document of ${length} tokens is not of this batch`);
    for (let i = 0; i < length; i++) order[to.cuSeqlens[document] + i] = begin + i;
  });
  return order;
}
