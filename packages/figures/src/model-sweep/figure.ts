import { type BestStep, bestSteps, type ModelTrial, predictedStepOf } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { fullCount } from "../drawing/amount.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { ink } from "../drawing/palette.ts";
import { headings, type Panel } from "../drawing/panel.ts";
import type { Figure } from "../figure.ts";
import { inOrder, layerStrategyColour } from "../model-steps/strategy-colour.ts";
import { type Bar, type BarsAxis, barsPanel } from "./bars.ts";
import { sweepTable } from "./table.ts";

export interface ModelSweepInput {
  readonly trials: readonly ModelTrial[];
}

const top = 24;
const plotHeight = 74;
const axisHeight = 28;
const rowGap = 5;
const gibibyte = 2 ** 30;

/**
 * Figure 6, one for each cluster of a sweep over training steps: the rate of each strategy by model, length mix and ranks, and the memory
 * of the rank that needs most.
 *
 * @throws InputError if there are no trials, or all strategies refused all of them.
 */
export function drawModelSweep({ trials }: ModelSweepInput): Figure[] {
  const steps = bestSteps(trials).filter(({ best }) => best.outcome.kind !== "refused");
  if (steps.length === 0) throw new InputError("invalid steps: there are none to draw");
  const clusters = [...new Set(steps.map(({ cluster }) => cluster))];
  return clusters.map((cluster) => ({
    number: 6,
    name: `models-${cluster}`,
    svg: drawCluster(
      cluster,
      steps.filter((step) => step.cluster === cluster),
    ),
    data: { ending: "csv", text: sweepTable(bestSteps(trials).filter((step) => step.cluster === cluster)) },
  }));
}

function drawCluster(cluster: string, steps: readonly BestStep[]): string {
  const [{ device }] = steps;
  const [models, mixes, named] = (["model", "mix", "strategy"] as const).map((name) => valuesOf(steps, name));
  const strategies = inOrder(named);
  const ranks = [...new Set(steps.map((step) => step.ranks))].sort((a, b) => a - b);
  const width = columnWidth.double;
  const room = width / models.length;
  const pitch = top + plotHeight + axisHeight + rowGap;
  const barOf = (step: BestStep, value: Omit<Bar, "ranks" | "place" | "colour">): Bar => {
    const place = strategies.indexOf(step.strategy);
    return { ranks: step.ranks, place, colour: layerStrategyColour(step.strategy, place), ...value };
  };
  const panelOf = (row: number, column: number, text: string, of: readonly Bar[], axis: BarsAxis): Panel[] => {
    const [x, y] = [column * room, row * pitch];
    const box = { x, y: y + top, width: room, height: plotHeight + axisHeight };
    const letter = String.fromCharCode("a".charCodeAt(0) + row * models.length + column);
    return [
      ...headings(x, y, letter, text, column > 0 ? undefined : axis.unit),
      barsPanel({
        box,
        axisHeight,
        ranks,
        places: strategies.length,
        bars: of,
        axis,
        isLast: column === models.length - 1,
      }),
    ];
  };
  const rateAxis: BarsAxis = {
    unit: "model TFLOP/s of each device",
    to: Math.max(...steps.map(({ best }) => rateOf(best) ?? 0), 1) * 1.05,
    whole: device.peakTflops,
  };
  const memoryAxis: BarsAxis = {
    unit: "GiB of the rank that needs most",
    to: 1.5 * device.memoryGiB,
    limit: device.memoryGiB,
  };
  const rates = mixes.flatMap((mix, row) =>
    models.flatMap((model, column) => {
      const own = middleSeeds(steps.filter((step) => step.mix === mix && step.model === model));
      const bars = own.map((step) => barOf(step, { value: rateOf(step.best), tick: ownRate(step) }));
      return panelOf(row, column, `${model}, ${mix}`, bars, rateAxis);
    }),
  );
  const memory = models.flatMap((model, column) => {
    const bars = ranks.flatMap((count) =>
      strategies.flatMap((strategy) => {
        const own = steps.filter((step) => step.model === model && step.ranks === count && step.strategy === strategy);
        return own.length === 0 ? [] : [mostMemory(own)].map((step) => barOf(step, memoryBar(step)));
      }),
    );
    return panelOf(mixes.length, column, `${model}, memory`, bars, memoryAxis);
  });
  return drawPage({
    width,
    bodyHeight: (mixes.length + 1) * pitch - rowGap,
    title: `Training steps by model, documents and ranks: ${device.name}, ${device.memoryGiB} GiB`,
    caption: captionOf(cluster, steps),
    legend: legend(
      [
        ...strategies.map((label, i): LegendEntry => ({ label, colour: layerStrategyColour(label, i) })),
        { label: "with the strategy's own choice of degrees", colour: ink.text, shape: "tick" },
        { label: "out of memory", colour: ink.text, shape: "cross" },
      ],
      { width },
    ),
    panels: [...rates, ...memory],
  });
}

const valuesOf = (steps: readonly BestStep[], name: "model" | "mix" | "strategy"): string[] => [
  ...new Set(steps.map((step) => step[name])),
];

/** Where the strategy's own choice of degrees is another than the best and fits. */
const ownRate = ({ best, own }: BestStep): number | undefined =>
  own === undefined || rateOf(own) === rateOf(best) ? undefined : rateOf(own);

/** Where it fits. */
const rateOf = ({ outcome }: ModelTrial): number | undefined =>
  outcome.kind === "fits" ? outcome.tflopsPerDevice : undefined;

const memoryOf = ({ best }: BestStep): number => predictedStepOf(best)?.memory.total ?? 0;

const memoryBar = (step: BestStep) => ({
  value: memoryOf(step) / gibibyte,
  hollow: step.best.outcome.kind === "out of memory",
});

/** Of batches drawn with several seeds that of the middle rate. */
function middleSeeds(steps: readonly BestStep[]): BestStep[] {
  const keyOf = ({ ranks, strategy }: BestStep) => `${ranks} ${strategy}`;
  return [...new Set(steps.map(keyOf))].map((key) => {
    const group = steps.filter((step) => keyOf(step) === key);
    const sorted = group.sort((a, b) => (rateOf(a.best) ?? 0) - (rateOf(b.best) ?? 0));
    return sorted[Math.floor((sorted.length - 1) / 2)];
  });
}

const mostMemory = (steps: readonly BestStep[]): BestStep =>
  steps.reduce((most, step) => (memoryOf(step) > memoryOf(most) ? step : most));

function captionOf(cluster: string, steps: readonly BestStep[]): string {
  const tokens = [...new Set(steps.map((step) => step.tokens / step.ranks))].map(fullCount).join(", ");
  const [{ best }] = steps;
  return (
    `Simulated times on ${cluster}, counted memory; nothing ran on such devices. ${tokens} tokens a rank and step, ${best.dtype}. Each bar is the ` +
    `fastest of the degrees that were tried and fit, activations computed again only where they must be. Right axis: share of the device's peak ` +
    "(MFU). Memory: the most over the documents above, cut off at 1.5 times the device's; hollow: does not fit. No mark: the strategy " +
    "cannot split the model so."
  );
}
