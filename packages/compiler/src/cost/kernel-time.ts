import { deviceTiming, type KernelTiming } from "@hsap/cluster";
import { bytesPerElement, groupSizeOf, type Problem } from "@hsap/schedule";

/**
 * Times of one rank's attention kernels, in microseconds: closed forms of what the simulator counts block by block. Thread blocks take
 * whole squares of tokens, and each has an overhead.
 */
export class KernelClock {
  /** One call. */
  readonly launchUs: number;
  /** Tiles are cut at whole blocks of so many queries: nothing is gained by less. */
  readonly blockRows: number;
  /** One (query, key) pair of one head that is paid for. */
  readonly #pairUs: number;
  /** One output row of one head that was added to before. */
  readonly #accumulateUs: number;
  readonly #kernel: KernelTiming;
  readonly #isForward: boolean;
  /** Query heads that share one kv head. */
  readonly #groupSize: number;
  readonly #copyLaunchUs: number;
  readonly #copyBytesPerUs: number;

  constructor({ shape, cluster: { device }, pass }: Problem) {
    const timing = deviceTiming(device);
    const kernel = timing[pass];
    this.#copyLaunchUs = timing.copyLaunchUs;
    this.#copyBytesPerUs = 1e3 * (device.memoryBandwidthGBps ?? Number.POSITIVE_INFINITY) * timing.copyShare;
    this.#kernel = kernel;
    this.#isForward = pass === "forward";
    this.#groupSize = groupSizeOf(shape);
    this.launchUs = kernel.launchUs;
    this.blockRows = Math.max(kernel.tileRows, kernel.tileColumns);
    this.#pairUs = (4 * shape.headDim * (this.#isForward ? 1 : 2.5)) / (1e6 * device.peakTflops * kernel.shareOfPeak);
    this.#accumulateUs =
      (kernel.accumulatePasses * shape.headDim * bytesPerElement[shape.dtype]) / this.#copyBytesPerUs;
  }

  /** A call that adds up blocks and reads and writes so many bytes for it. */
  sumUs(bytes: number): number {
    return bytes === 0 ? 0 : this.#copyLaunchUs + bytes / this.#copyBytesPerUs;
  }

  /** A tile for `heads` query heads, without what its call costs. */
  tileUs(qBegin: number, qEnd: number, kBegin: number, kEnd: number, isCausal: boolean, heads: number): number {
    const overhead = this.#overheadTokens(heads);
    const pairs = this.#isForward
      ? this.#paidForward(qEnd - qBegin, kEnd - kBegin, qBegin - kBegin, isCausal, overhead)
      : this.#paidBackward(qEnd - qBegin, kEnd - kBegin, qBegin - kBegin, isCausal, overhead);
    return pairs * heads * this.#pairUs;
  }

  /** Query heads of one kv head share what each of its keys costs. */
  #overheadTokens(heads: number): number {
    const { overheadTokens, sharedOverheadTokens } = this.#kernel;
    return overheadTokens - sharedOverheadTokens * (1 - 1 / Math.min(this.#groupSize, heads));
  }

  /** What a further call on rows costs that an earlier one has added to. */
  accumulateUs(rows: number, heads: number): number {
    return rows * heads * this.#accumulateUs;
  }

  /** Thread blocks without work of a call over so many documents, the longest of which has so many keys. */
  emptyBlocksUs(documents: number, longest: number, heads: number): number {
    return this.#kernel.emptyBlockUs * documents * heads * Math.ceil(longest / this.#kernel.tileColumns);
  }

  /** A block keeps its queries and walks over keys; `lead` keys stand before the first query. */
  #paidForward(queries: number, keys: number, lead: number, isCausal: boolean, overheadTokens: number): number {
    const { tileRows, tileColumns } = this.#kernel;
    const blocks = Math.ceil(queries / tileRows);
    if (!isCausal) return blocks * tileRows * (roundUp(keys, tileColumns) + overheadTokens);
    // Keys of all blocks but the last grow by one block each.
    const first = Math.max(0, lead) + tileRows;
    const inner = blocks - 1;
    const walked = inner * first + (tileRows * inner * (inner - 1)) / 2;
    // Where blocks are finer than what they round to, they end anywhere in it.
    const isAligned = tileRows % tileColumns === 0;
    const rounded = inner * (isAligned ? roundUp(first, tileColumns) - first : (tileColumns - 1) / 2);
    const last = roundUp(Math.min(keys, Math.max(0, lead) + queries), tileColumns);
    return tileRows * (walked + rounded + last + blocks * overheadTokens);
  }

  /** A block keeps its keys and walks over the queries that are not before them. */
  #paidBackward(queries: number, keys: number, lead: number, isCausal: boolean, overheadTokens: number): number {
    const { tileRows, tileColumns } = this.#kernel;
    const blocks = Math.ceil(keys / tileColumns);
    if (!isCausal) return roundUp(keys, tileColumns) * (roundUp(queries, tileRows) + overheadTokens);
    // Blocks whose keys stand before all queries see all of them, the others ever fewer.
    const whole = Math.min(blocks, Math.floor(Math.max(0, lead) / tileColumns) + 1);
    const ramp = blocks - whole;
    const firstOnRamp = queries - (whole * tileColumns - Math.max(0, lead));
    const walked = ramp * firstOnRamp - (tileColumns * ramp * (ramp - 1)) / 2;
    const rounded = ramp * (roundUp(Math.max(0, firstOnRamp), tileRows) - Math.max(0, firstOnRamp));
    return tileColumns * (whole * roundUp(queries, tileRows) + Math.max(0, walked + rounded) + blocks * overheadTokens);
  }
}

const roundUp = (count: number, multiple: number): number => Math.ceil(count / multiple) * multiple;
