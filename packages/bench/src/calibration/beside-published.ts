import { hsap } from "@hsap/compiler";
import { flopsOf, type Problem, type Strategy } from "@hsap/schedule";
import {
  hardwareOf,
  type PreparedSchedule,
  type PublishedRow,
  prepareSchedule,
  publishedRows,
  simulatePrepared,
} from "@hsap/simulator";
import { publishedBatches, publishedCluster, publishedShape } from "./predicted-rows.ts";
import { publishedSystems } from "./published-systems.ts";

/** A strategy as it is simulated in one setting of the published evaluation, beside the best of all systems published there. */
export interface BesidePublished {
  readonly mask: PublishedRow["mask"];
  readonly pass: PublishedRow["pass"];
  readonly ranks: number;
  readonly best: PublishedRow;
  /** With each attention kernel that the published systems have, by its name in the hardware file. */
  readonly simulated: readonly {
    readonly kernel: string;
    readonly tflopsPerDevice: number;
    /** To the best published system. */
    readonly ratio: number;
  }[];
}

export interface BesidePublishedOptions {
  readonly strategy?: Strategy;
  /** Packs that stand for those of the evaluation, up to 8 ranks and with more: packed masks are means over them. */
  readonly packs: { readonly small: number; readonly large: number };
  readonly seed: number;
  /** All that the systems of the rows have where left out. */
  readonly kernels?: readonly string[];
  readonly published?: readonly PublishedRow[];
  readonly signal?: AbortSignal;
  readonly onSetting?: (done: number, of: number) => void;
}

/**
 * Simulates a strategy in every setting of the published rows. What a kernel reaches decides as much as a schedule does, so each is tried: one that
 * works on rows as they lie, the same one as its callers in the evaluation use it, and those of the other systems.
 */
export async function besidePublished({
  strategy = hsap,
  packs,
  seed,
  published = publishedRows(),
  kernels,
  signal,
  onSetting,
}: BesidePublishedOptions): Promise<BesidePublished[]> {
  const settings = new Map<string, PublishedRow>();
  for (const row of published) {
    const key = `${row.device} ${row.mask} ${row.pass} ${row.ranks}`;
    const best = settings.get(key);
    if (best === undefined || row.tflopsPerDevice > best.tflopsPerDevice) settings.set(key, row);
  }
  const beside: BesidePublished[] = [];
  for (const best of settings.values()) {
    onSetting?.(beside.length, settings.size);
    signal?.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
    const problems = problemsOf(best, best.ranks > 8 ? packs.large : packs.small, seed);
    const prepared = problems.map((problem) =>
      prepareSchedule(strategy.compile(problem, strategy.defaultDegrees(problem))),
    );
    const { mask, pass, ranks } = best;
    const simulated = (kernels ?? kernelsOf(published, problems[0])).map((kernel) => {
      const tflopsPerDevice = meanRate(prepared, kernel);
      return { kernel, tflopsPerDevice, ratio: tflopsPerDevice / best.tflopsPerDevice };
    });
    beside.push({ mask, pass, ranks, best, simulated });
  }
  onSetting?.(settings.size, settings.size);
  return beside.sort((a, b) => a.ranks - b.ranks);
}

function problemsOf(row: PublishedRow, packs: number, seed: number): Problem[] {
  const mask = row.mask.endsWith("causal") ? "causal" : "full";
  const cluster = publishedCluster(row);
  return publishedBatches(row, packs, seed).map((batch) => ({
    batch,
    shape: publishedShape,
    cluster,
    mask,
    pass: row.pass,
  }));
}

/** The device's own kernel first, which works on rows as they lie. */
function kernelsOf(published: readonly PublishedRow[], { cluster }: Problem): string[] {
  const [own] = Object.keys(hardwareOf(cluster).kernels);
  return [...new Set([own, ...published.map(({ system }) => publishedSystems[system]?.kernel ?? own)])];
}

/** As the evaluation took it: over the time of the slowest rank, the mean over packs. */
function meanRate(prepared: readonly PreparedSchedule[], kernel: string): number {
  const rates = prepared.map((one) => {
    const { problem } = one.schedule;
    const { trace } = simulatePrepared(one, { kernel });
    return flopsOf(problem) / problem.cluster.ranks / (trace.durationUs * 1e6);
  });
  return rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}
