import type { Strategy } from "@hsap/schedule";
import { compile } from "./compile.ts";
import { candidateDegrees, chooseDegrees } from "./degrees.ts";

/** Hierarchical sequence-aware parallelism: a schedule compiled for the very documents of a batch and the links of a cluster. */
export const hsap: Strategy = {
  name: "hsap",
  summary:
    "Compiles for the batch: balanced shards, only needed keys move, each enters a node once; heads may split inside nodes.",
  citation: "HSAP, arXiv 2606.30460",
  degreeNames: ["ulysses", "sap"],
  options: {
    shard: {
      summary:
        "balanced: equal tokens and equal area per rank, documents cut as little as possible; contiguous: as the batch lies, tiles of long documents shared",
      default: "balanced",
    },
    rounds: {
      summary: "in how many rounds keys cross to other nodes: more of them need smaller receive buffers, and more time",
      default: 1,
    },
    split: {
      summary:
        "whose heads the ulysses degree splits: nodes: documents that several nodes hold; N: also those heavier than N ranks' shares; all; auto: by predicted time",
      default: "auto",
    },
    place: {
      summary:
        "where tiles are computed: queries: by the owners of their queries, keys: by those of their keys, grid: by third ranks too, in two dimensions; auto: by predicted time",
      default: "auto",
    },
  },
  defaultDegrees: chooseDegrees,
  candidateDegrees,
  compile,
};
