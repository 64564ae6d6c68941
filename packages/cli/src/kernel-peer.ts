import { median } from "@hsap/bench";
import type { KernelBenchRow } from "@hsap/engine";
import { type PackedBatch, seededRandom, tokensOf } from "@hsap/workload";

interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** One problem that the peer is timed on, forward and in fp32. */
export interface PeerProblem {
  readonly mix: string;
  readonly batch: PackedBatch;
  readonly shape: AttentionShape;
  readonly mask: "full" | "causal";
}

/** What scripts/peer exports. It stays outside of the packages because it brings 290 MB of another engine with it. */
interface PeerModule {
  installPeer(say: (line: string) => void): Promise<void>;
  openPeer(problem: {
    readonly shape: AttentionShape;
    readonly cuSeqlens: Int32Array;
    readonly causal: boolean;
    readonly q: Float32Array;
    readonly k: Float32Array;
    readonly v: Float32Array;
  }): Promise<{ run(): Promise<unknown>; release(): Promise<void> }>;
}

/** The operator makes a whole rectangle of scores; a problem that would need more than this is left out. */
export const peerBytesLimit = 2 * 2 ** 30;

/** Bytes that the operator needs for its rectangle: the mask, the mask as numbers, and each head's scores twice. */
export function peerBytesOf({ batch, shape }: PeerProblem): number {
  return tokensOf(batch) ** 2 * (1 + 4 + shape.heads * (4 + 4));
}

/** ONNX Runtime's CPU Attention operator, timed on one thread beside the kernels. */
export class KernelPeer {
  readonly #samples = new Map<string, number[]>();
  readonly #fitting: readonly PeerProblem[];
  /** Problems that are not timed, as their rectangle does not fit. */
  readonly leftOut: readonly PeerProblem[];
  readonly #module: PeerModule;

  private constructor(module: PeerModule, problems: readonly PeerProblem[]) {
    this.#module = module;
    this.#fitting = problems.filter((problem) => peerBytesOf(problem) <= peerBytesLimit);
    this.leftOut = problems.filter((problem) => peerBytesOf(problem) > peerBytesLimit);
  }

  /** Installs the peer first if it is not there. */
  static async open(problems: readonly PeerProblem[], say: (line: string) => void): Promise<KernelPeer> {
    // Both src and dist are direct children of the package.
    const place = new URL("../../../scripts/peer/peer-attention.mjs", import.meta.url).href;
    const module = (await import(place)) as PeerModule;
    await module.installPeer(say);
    return new KernelPeer(module, problems);
  }

  /** Takes one sample of every problem: its call, repeated until it has taken `minSampleMs`. */
  async sampleAll(signal: AbortSignal, minSampleMs: number): Promise<void> {
    for (const problem of this.#fitting) {
      signal.throwIfAborted();
      const key = keyOf(problem);
      this.#samples.set(key, [...(this.#samples.get(key) ?? []), await this.#sample(problem, minSampleMs)]);
    }
  }

  /** GFLOP/s by the same count of useful operations as the row's, or null where the peer has no such operator or memory. */
  gflopsOf(row: Pick<KernelBenchRow, "mix" | "tokens" | "headDim" | "mask" | "pass" | "dtype">): number | null {
    if (row.pass !== "forward" || row.dtype !== "fp32") return null;
    const samples = this.#samples.get([row.mix, row.tokens, row.headDim, row.mask].join());
    return samples === undefined ? null : median(samples);
  }

  /** Opened anew each time, so that only one problem's rectangle is in memory; the first run, which allocates it, is not timed. */
  async #sample(problem: PeerProblem, minSampleMs: number): Promise<number> {
    const { batch, shape, mask } = problem;
    const { heads, kvHeads, headDim } = shape;
    const [q, k, v] = [heads, kvHeads, kvHeads].map((count, i) =>
      randomTensor(tokensOf(batch) * count * headDim, i + 1),
    );
    const peer = await this.#module.openPeer({ shape, cuSeqlens: batch.cuSeqlens, causal: mask === "causal", q, k, v });
    try {
      await peer.run();
      let elapsedMs = 0;
      let runs = 0;
      while (elapsedMs < minSampleMs) {
        // Nothing else works in this process meanwhile, and on a shared machine its time counts, not the clock's.
        const before = process.cpuUsage();
        await peer.run();
        const { user, system } = process.cpuUsage(before);
        elapsedMs += (user + system) / 1000;
        runs += 1;
      }
      return (runs * operationsOf(problem)) / elapsedMs / 1e6;
    } finally {
      await peer.release();
    }
  }
}

function keyOf({ mix, batch, shape, mask }: PeerProblem): string {
  return [mix, tokensOf(batch), shape.headDim, mask].join();
}

/** Visible pairs only, as for the kernels: 4 * area * heads * headDim. */
function operationsOf({ batch: { cuSeqlens }, shape: { heads, headDim }, mask }: PeerProblem): number {
  let area = 0;
  for (let document = 0; document + 1 < cuSeqlens.length; ++document) {
    const length = cuSeqlens[document + 1] - cuSeqlens[document];
    area += mask === "causal" ? (length * (length + 1)) / 2 : length ** 2;
  }
  return 4 * area * heads * headDim;
}

/** Uniform, of unit variance, as the kernels' inputs. */
function randomTensor(length: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length }, () => (random() * 2 - 1) * Math.sqrt(3));
}
