import type { Trial } from "@hsap/bench";

export interface TrialSweep {
  readonly strategies: readonly string[];
  readonly mixes: readonly string[];
  readonly repeats: number;
}

/** Trial records for tests only, with made-up numbers that follow from their place in the sweep. */
export function syntheticTrials({ strategies, mixes, repeats }: TrialSweep): Trial[] {
  const trials: Trial[] = [];
  for (const pass of ["forward", "backward"] as const) {
    for (const [m, mix] of mixes.entries()) {
      for (const [s, strategy] of strategies.entries()) {
        for (let repeat = 0; repeat < repeats; repeat++) trials.push(trialOf({ pass, mix, m, strategy, s, repeat }));
      }
    }
  }
  return trials;
}

interface Place {
  readonly pass: "forward" | "backward";
  readonly mix: string;
  readonly m: number;
  readonly strategy: string;
  readonly s: number;
  readonly repeat: number;
}

function trialOf({ pass, mix, m, strategy, s, repeat }: Place): Trial {
  const slower = pass === "forward" ? 1 : 2.5;
  const wallMs = slower * (40 + 9 * s + 5 * m + ((repeat * 7 + s) % 5));
  const received = 1e6 * slower * (2 + 3 * s + m);
  const computation = Array.from({ length: 8 }, (_, rank) => wallMs * (0.15 + 0.01 * ((rank * s) % 8)));
  return {
    schema: "hsap-trial/1",
    key: `${pass}-${mix}-${strategy}-${repeat}`,
    experiment: "synthetic",
    environment: "none",
    at: "2026-01-01T00:00:00.000Z",
    origin: "measured",
    problem: {
      mix,
      seed: 1,
      documents: 40,
      tokens: 16384,
      lengthsDigest: "0",
      heads: 16,
      kvHeads: 4,
      headDim: 64,
      dtype: "fp32",
      mask: "causal",
      pass,
    },
    ranks: 8,
    ranksPerNode: 4,
    strategy,
    degrees: strategy === "hsap" ? { ulysses: 2, sap: 4 } : { ring: 8 },
    options: {},
    repeat,
    wallMs,
    cpuMs: { computation, communication: computation.map(() => 1) },
    criticalPathMs: wallMs * (0.3 + 0.03 * s),
    longestChainMs: wallMs * 0.25,
    area: 12_000_000,
    bytes: { received: { mean: received, max: received * 1.3, total: received * 8 }, betweenNodes: received * 3 },
    balance: { area: 1 + 0.2 * s, tokens: 1 },
    peakBytes: { mean: 1e6, max: 2e6 },
    compileMs: 2,
    verifyMs: 3,
    verified: true,
    error: pass === "forward" ? { o: 1e-7, lse: 1e-8 } : { dq: 1e-7, dk: 1e-7, dv: 1e-7 },
    sameBits: true,
    digest: "0",
    isa: "avx2",
  };
}
