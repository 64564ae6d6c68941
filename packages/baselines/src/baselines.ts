import type { Strategy } from "@hsap/schedule";
import { allgather } from "./allgather.ts";
import { colaiSp } from "./colai-sp.ts";
import { dispatchGroupcast } from "./dispatch-groupcast.ts";
import { hybridCp } from "./hybrid-cp.ts";
import { loongtrain } from "./loongtrain.ts";
import { reference } from "./reference.ts";
import { ring } from "./ring.ts";
import { striped } from "./striped.ts";
import { ulysses } from "./ulysses.ts";
import { usp } from "./usp.ts";
import { zigzag } from "./zigzag.ts";
import { zigzagPerDocument } from "./zigzag-per-document.ts";

/**
 * Non-parallel attention and every published system that HSAP is compared with, but for `megatron` (tensor and sequence parallelism,
 * arXiv 2205.05198), which is a strategy for whole layers.
 */
export const baselines: readonly Strategy[] = [
  reference,
  colaiSp,
  ulysses,
  ring,
  zigzag,
  zigzagPerDocument,
  striped,
  allgather,
  usp,
  loongtrain,
  hybridCp,
  dispatchGroupcast,
];
