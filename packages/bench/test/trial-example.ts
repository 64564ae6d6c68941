import { type Trial, type TrialInputs, trialKey, trialSchemaVersion } from "../src/trial.ts";

const inputs: TrialInputs = {
  experiment: "example",
  problem: {
    mix: "hybrid",
    seed: 1,
    documents: 3,
    tokens: 100,
    lengthsDigest: "0123456789abcdef",
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    dtype: "fp32",
    mask: "causal",
    pass: "forward",
  },
  ranks: 2,
  ranksPerNode: 2,
  strategy: "ring",
  degrees: { ring: 2 },
  options: {},
  repeat: 0,
};

/** A valid trial; `changes` replace inputs, and the key follows them. */
export function exampleTrial(changes: Partial<TrialInputs> = {}, measured: Partial<Trial> = {}): Trial {
  const changed = { ...inputs, ...changes };
  return {
    ...changed,
    schema: trialSchemaVersion,
    key: trialKey(changed),
    environment: "e0",
    at: "2026-01-02T03:04:05.000Z",
    origin: "measured",
    wallMs: 10,
    cpuMs: { computation: [8, 6], communication: [1, 1] },
    criticalPathMs: 9,
    longestChainMs: 8,
    area: 1700,
    bytes: { received: { mean: 100, max: 100, total: 200 }, betweenNodes: 0 },
    balance: { area: 1.1, tokens: 1 },
    peakBytes: { mean: 1000, max: 1000 },
    compileMs: 0.1,
    verifyMs: 0.2,
    verified: true,
    error: { o: 1e-7, lse: 1e-8 },
    sameBits: true,
    digest: "00",
    isa: "scalar",
    ...measured,
  };
}
