import type { DeviceProfile } from "./device-profile.ts";

/** An attention kernel's time as a compiler predicts it, for one pass. */
export interface KernelTiming {
  /** Rate on endless tiles: share of the device's peak. */
  readonly shareOfPeak: number;
  /** Query rows and keys of the squares that a thread block computes whole, masked or not. */
  readonly tileRows: number;
  readonly tileColumns: number;
  /** What a thread block costs besides its squares, in keys (forward) or query rows (backward) of further work. */
  readonly overheadTokens: number;
  /** The part of it that query heads of one kv head share: keys that are packed once for all of them. */
  readonly sharedOverheadTokens: number;
  /** From the launch of a call until its first block runs, and from its last block until the next kernel starts. */
  readonly launchUs: number;
  /** A thread block without work. */
  readonly emptyBlockUs: number;
  /** Passes over those output rows of a call to which an earlier call has added already. */
  readonly accumulatePasses: number;
}

/** What a compiler that weighs schedules against each other has to know of a device and of the library that moves its data. */
export interface DeviceTiming {
  readonly forward: KernelTiming;
  readonly backward: KernelTiming;
  /** Copies and sums: share of the device's memory bandwidth. */
  readonly copyShare: number;
  /** From the launch of a copy or sum until it runs, and from its end until the next kernel starts. */
  readonly copyLaunchUs: number;
  /** From the moment at which both sides of a transfer are ready until its first byte leaves, besides the latency of the link. */
  readonly transferLaunchUs: number;
  /** Factor on computation while the device's communication lane is busy. */
  readonly slowdown: number;
  /** Highest share of a level's bandwidth that one pair of ranks reaches, inside a node and between nodes. */
  readonly pairShare: readonly [number, number];
  /** Of that share, what each direction has where two ranks send to each other at once. */
  readonly mutualShare: readonly [number, number];
  /** All-to-alls inside a node and between nodes. */
  readonly allToAll: {
    /** Before the first byte, besides `transferLaunchUs`. */
    readonly baseUs: number;
    /** The one step from rank to rank. */
    readonly hopUs: readonly [number, number];
    /** Passes over what a rank sends or receives to pack and unpack it. */
    readonly packPasses: number;
    /** Line rate as a multiple of the level's bandwidth. */
    readonly lineRate: readonly [number, number];
    /** Share of the line rate by bytes of a rank's buffer, straight in the logarithm of the bytes; the nearest number of nodes counts. */
    readonly shares: readonly {
      readonly nodes: number;
      readonly points: readonly (readonly [bytes: number, share: number])[];
    }[];
  };
}

/**
 * The timing of a device; of one that is not known, that of the device with the same element type, as shares of its own peaks.
 *
 * The simulator has the same numbers with their sources in `packages/simulator/hardware`, and more of them; here is what
 * closed formulas need. A test of `bench` holds the two together.
 */
export const deviceTiming = ({ name, dtype }: Pick<DeviceProfile, "name" | "dtype">): DeviceTiming =>
  knownDevices[name] ?? (dtype === "fp32" ? oneCore : h100);

/** Shares at 16 MB and 16 GB, where they were published. */
function twoPoints(at16MB: number, at16GB: number): readonly (readonly [number, number])[] {
  return [
    [1.6e7, at16MB],
    [1.6e10, at16GB],
  ];
}

const h100: DeviceTiming = {
  forward: {
    shareOfPeak: 0.692,
    tileRows: 128,
    tileColumns: 128,
    overheadTokens: 186,
    sharedOverheadTokens: 0,
    launchUs: 15,
    emptyBlockUs: 0,
    accumulatePasses: 3,
  },
  backward: {
    shareOfPeak: 0.618,
    tileRows: 64,
    tileColumns: 128,
    overheadTokens: 246,
    sharedOverheadTokens: 0,
    launchUs: 25,
    emptyBlockUs: 0.00873,
    accumulatePasses: 3,
  },
  copyShare: 0.459,
  copyLaunchUs: 5,
  transferLaunchUs: 10,
  slowdown: 1.126,
  pairShare: [0.44, 0.4],
  mutualShare: [1, 0.6],
  allToAll: {
    baseUs: 8.4,
    hopUs: [3.4, 9.6],
    packPasses: 4,
    lineRate: [1.203, 1.03],
    shares: [
      { nodes: 1, points: twoPoints(0.44, 0.78) },
      { nodes: 2, points: twoPoints(0.52, 0.8) },
      { nodes: 4, points: twoPoints(0.67, 0.95) },
    ],
  },
};

// Query heads of a kv head fill register tiles together, so hardly a row of these is empty.
const engineKernel = { tileRows: 1, tileColumns: 16, launchUs: 0, emptyBlockUs: 0, accumulatePasses: 0 } as const;

const oneCore: DeviceTiming = {
  forward: { ...engineKernel, shareOfPeak: 0.9524, overheadTokens: 44.86, sharedOverheadTokens: 24.85 },
  backward: { ...engineKernel, shareOfPeak: 0.9623, overheadTokens: 26.89, sharedOverheadTokens: 17.0 },
  copyShare: 1,
  copyLaunchUs: 0,
  transferLaunchUs: 0,
  slowdown: 1,
  pairShare: [1, 1],
  mutualShare: [1, 1],
  // The engine moves an all-to-all as so many single transfers.
  allToAll: { baseUs: 0, hopUs: [0, 0], packPasses: 0, lineRate: [1, 1], shares: [{ nodes: 1, points: [[1, 1]] }] },
};

const knownDevices: Readonly<Record<string, DeviceTiming>> = { "H100 SXM": h100, "one core": oneCore };
