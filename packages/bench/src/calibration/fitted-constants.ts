import type { Hardware } from "@hsap/simulator";

/** A constant of a hardware file that the calibration may move. */
export interface FittedConstant {
  /** Where it lies in the hardware file. */
  readonly path: readonly (string | number)[];
  /** What is published or known of it without the rows of the calibration, and from where. */
  readonly prior: number;
  readonly source: string;
  /** How far it may be off, as a factor's logarithm: the penalty is ((ln value - ln prior) / spread)^2. */
  readonly spread: number;
}

const fa3 = (pass: "forward" | "backward", name: string) => ["kernels", "flash-attention-3-unpadded", pass, name];
const ffa = (pass: "forward" | "backward", name: string) => ["kernels", "flex-flash-attention", pass, name];

/** Every constant that is fitted; all others of the file keep their published values. */
export const fittedConstants: readonly FittedConstant[] = [
  {
    path: fa3("forward", "shareOfPeak"),
    prior: 0.687,
    spread: 0.03,
    source: "FlashAttention-3, causal forward at 32k: 679 of 989 TFLOP/s",
  },
  {
    path: fa3("backward", "shareOfPeak"),
    prior: 0.605,
    spread: 0.03,
    source: "FlashAttention-3, causal backward at 32k: 586 of 989 TFLOP/s, still rising by 4 % a doubling",
  },
  {
    path: fa3("forward", "overheadTokens"),
    prior: 200,
    spread: 0.4,
    source: "FlashAttention-3 on packs of 8k to 32k tokens: 484, 543, 584 TFLOP/s",
  },
  {
    path: fa3("backward", "overheadTokens"),
    prior: 350,
    spread: 0.4,
    source: "FlashAttention-3 on packs of 8k to 32k tokens: 318, 375, 425 TFLOP/s",
  },
  {
    path: fa3("backward", "emptyBlockUs"),
    prior: 0.003,
    spread: 1,
    source: "order of a thread block's launch (0.4 us) over 132 multiprocessors",
  },
  {
    path: fa3("forward", "hostUs"),
    prior: 1500,
    spread: 1,
    source: "not published; a ring on packs takes 1.5 ms a step on 8 ranks as on 32, however little it computes",
  },
  {
    path: fa3("backward", "hostUs"),
    prior: 3000,
    spread: 1,
    source: "not published; likewise 3.4 ms a step",
  },
  {
    path: ["memory", "copyShare"],
    prior: 0.4,
    spread: 0.5,
    source: "gathers of rows by index, as against streaming copies",
  },
  {
    path: ffa("forward", "shareOfPeak"),
    prior: 0.687,
    spread: 0.1,
    source: "as FlashAttention-3, on which it is built",
  },
  {
    path: ffa("backward", "shareOfPeak"),
    prior: 0.605,
    spread: 0.1,
    source: "as FlashAttention-3, on which it is built",
  },
  { path: ffa("forward", "overheadTokens"), prior: 200, spread: 0.5, source: "as FlashAttention-3" },
  { path: ffa("backward", "overheadTokens"), prior: 350, spread: 0.5, source: "as FlashAttention-3" },
  {
    path: ffa("forward", "accumulatePasses"),
    prior: 4,
    spread: 0.5,
    source: "fp32 outputs read and written by each call after the first",
  },
  {
    path: ["libraries", "nccl", "pairShare", 1],
    prior: 0.33,
    spread: 0.2,
    source: "Galvatron, A100: one pair of ranks between nodes has 7.7 to 8.8 of 25 GB/s",
  },
  {
    path: ["libraries", "nccl", "mutualShare", 1],
    prior: 0.5,
    spread: 0.3,
    source: "not published; 0.5 where both directions between two ranks share what one has alone",
  },
  {
    path: ["libraries", "nccl", "collectives", "broadcast", "lineRate", 1],
    prior: 0.7,
    spread: 0.3,
    source: "as NCCL's all-to-all of 16 MB over four nodes: 0.67 of the line rate",
  },
  {
    path: ["libraries", "native-group-cast", "collectives", "broadcast", "lineRate", 1],
    prior: 0.6,
    spread: 0.5,
    source: "not published; as an all-to-all of 16 MB over four nodes reaches 0.67",
  },
];

/** The constant's value in `hardware`. */
export function constantIn(hardware: Hardware, { path }: FittedConstant): number {
  const value = path.reduce<unknown>((inner, key) => (inner as Record<string | number, unknown>)?.[key], hardware);
  if (typeof value !== "number") throw new Error(`no such constant: ${path.join(".")}`);
  return value;
}

/** A copy of `hardware` with other values of the constants, in their order. */
export function withConstants(
  hardware: Hardware,
  constants: readonly FittedConstant[],
  values: readonly number[],
): Hardware {
  const copy = structuredClone(hardware);
  constants.forEach(({ path }, i) => {
    const holder = path
      .slice(0, -1)
      .reduce<unknown>((inner, key) => (inner as Record<string | number, unknown>)[key], copy);
    (holder as Record<string | number, number>)[path[path.length - 1]] = values[i];
  });
  return copy;
}
