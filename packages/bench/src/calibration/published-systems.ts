import { allgather, dispatchGroupcast, hybridCp, loongtrain, ulysses, usp, zigzagPerDocument } from "@hsap/baselines";
import type { Degrees, Strategy, StrategyOptions } from "@hsap/schedule";

/** A published system as a strategy of ours, run as its evaluation ran it. */
export interface PublishedSystem {
  readonly strategy: Strategy;
  readonly degrees: (ranks: number) => Degrees;
  readonly options: StrategyOptions;
  /** Attention kernel and communication library, by their names in the hardware file. */
  readonly kernel: string;
  readonly library: string;
}

const perDocument = { shards: "zigzag-per-document" };
const headsInNode = (ranks: number) => Math.min(8, ranks);

/**
 * The systems of the published charts. All but ulysses and magi cut every document by itself, so that packs are balanced; usp
 * and loongtrain split heads inside nodes of 8; loongtrain's rings are as square as they can be (2 x 2 of 4).
 */
export const publishedSystems: Readonly<Record<string, PublishedSystem>> = {
  ulysses: {
    strategy: ulysses,
    degrees: (ranks) => ({ ulysses: ranks }),
    options: {},
    kernel: "flash-attention-3-unpadded",
    library: "nccl",
  },
  ring_p2p: {
    strategy: zigzagPerDocument,
    degrees: (ranks) => ({ ring: ranks }),
    options: {},
    kernel: "flash-attention-3-unpadded",
    library: "nccl",
  },
  ring_allgather: {
    strategy: allgather,
    degrees: (ranks) => ({ allgather: ranks }),
    options: perDocument,
    kernel: "flash-attention-3-unpadded",
    library: "nccl",
  },
  usp: {
    strategy: usp,
    degrees: (ranks) => ({ ulysses: headsInNode(ranks), ring: ranks / headsInNode(ranks) }),
    options: perDocument,
    kernel: "flash-attention-3-unpadded",
    library: "nccl",
  },
  loongtrain: {
    strategy: loongtrain,
    degrees: (ranks) => {
      const ring = ranks / headsInNode(ranks);
      const outer = 2 ** Math.floor(Math.log2(ring) / 2);
      return { ulysses: headsInNode(ranks), inner: ring / outer, outer };
    },
    options: { ...perDocument, outer: "first", gradients: "circles" },
    kernel: "flash-attention-3-unpadded",
    library: "nccl",
  },
  hybrid_dcp: {
    strategy: hybridCp,
    degrees: (ranks) => ({ ring: ranks }),
    options: {},
    kernel: "flash-attention-3-unpadded",
    library: "nccl",
  },
  magi_a2av: {
    strategy: dispatchGroupcast,
    degrees: (ranks) => ({ dispatch: ranks }),
    options: { transport: "groupcast" },
    kernel: "flex-flash-attention",
    library: "nccl",
  },
  magi_native: {
    strategy: dispatchGroupcast,
    degrees: (ranks) => ({ dispatch: ranks }),
    options: { transport: "groupcast" },
    kernel: "flex-flash-attention",
    library: "native-group-cast",
  },
};
