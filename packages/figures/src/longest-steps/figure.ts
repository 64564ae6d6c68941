import { InputError } from "@hsap/workload";
import { dot, gridY, type Markish, ruleX } from "@observablehq/plot";
import { bottomAxis, leftAxis } from "../drawing/axes.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { ink } from "../drawing/palette.ts";
import { headings, type Panel, plotPanel } from "../drawing/panel.ts";
import { inOrder, layerStrategyColour } from "../model-steps/strategy-colour.ts";

export interface LongestStepsInput {
  /** What a step is made of, in one sentence. */
  readonly documents: string;
  readonly rows: readonly LongestStepsRow[];
}

/** The most tokens that fit for one strategy; 0 if nothing does. */
export interface LongestStepsRow {
  readonly device: string;
  readonly memoryGiB: number;
  readonly model: string;
  readonly ranks: number;
  readonly strategy: string;
  readonly weights: "replicated" | "grouped" | "sharded" | "own";
  readonly recompute: "none" | "selective" | "full";
  readonly tokens: number;
}

const top = 24;
const plotHeight = 92;
const axisHeight = 28;
const rowGap = 8;
const marginLeft = 32;

/**
 * The longest step by ranks: a column of panels for each model, a row for each device and way to recompute, all with one vertical axis. The
 * strategies stand beside each other at each number of ranks, hollow where weights are replicated; a cross where nothing fits. Returns the SVG.
 *
 * @throws InputError if there is nothing that fits.
 */
export function drawLongestSteps({ documents, rows }: LongestStepsInput): string {
  const fitting = rows.filter(({ tokens }) => tokens > 0);
  if (fitting.length === 0) throw new InputError("invalid steps: there are none to draw");
  const models = [...new Set(rows.map(({ model }) => model))];
  const conditions = [...new Set(rows.map(conditionOf))];
  const strategies = inOrder([...new Set(rows.map(({ strategy }) => strategy))]);
  const ranks = [...new Set(rows.map((row) => row.ranks))].sort((a, b) => a - b);
  const tokens = tokensAxis(fitting);
  const width = columnWidth.double;
  const room = width / models.length;
  const pitch = top + plotHeight + axisHeight + rowGap;
  const panels = conditions.flatMap((condition, row) =>
    models.flatMap((model, column): Panel[] => {
      const [x, y] = [column * room, row * pitch];
      const own = rows.filter((each) => each.model === model && conditionOf(each) === condition);
      const box = { x, y: y + top, width: room, height: plotHeight + axisHeight };
      return [
        ...headings(x, y, letterOf(row * models.length + column), model, condition),
        plotPanel(
          { ...box, marginLeft, marginRight: 8, marginTop: 4, marginBottom: axisHeight },
          {
            x: { domain: [-0.5, ranks.length - 0.5] },
            y: { type: "log", base: 2, domain: tokens.domain },
            marks: [
              gridY(tokens.ticks, { stroke: ink.faint, strokeOpacity: 1, strokeWidth: 0.6 }),
              ruleX(
                ranks.slice(1).map((_, i) => i + 0.5),
                { stroke: ink.faint, strokeWidth: 0.6 },
              ),
              ...marksOf(own, { ranks, strategies, bottom: tokens.domain[0] }),
              bottomAxis("ranks", { ticks: ranks.map((_, i) => i), tickFormat: (i: number) => String(ranks[i]) }),
              leftAxis("", 24, { ticks: tokens.ticks, tickFormat: shortTokens }),
            ],
          },
        ),
      ];
    }),
  );
  return drawPage({
    width,
    bodyHeight: conditions.length * pitch - rowGap,
    title: "The most tokens of a training step that fit into the devices",
    caption:
      `Memory counted from the schedules, of the rank that needs most; nothing ran on such devices. ${documents} No mark: the strategy cannot split ` +
      "the model so. The vertical axis is logarithmic.",
    legend: legend(legendOf(rows, strategies), { width }),
    panels,
  });
}

function legendOf(rows: readonly LongestStepsRow[], strategies: readonly string[]): LegendEntry[] {
  const hasReplicated = rows.some(({ weights }) => weights === "replicated");
  return [
    ...strategies.map((label, i): LegendEntry => ({ label, colour: layerStrategyColour(label, i), shape: "dot" })),
    ...(hasReplicated
      ? [{ label: "weights replicated", colour: ink.text, shape: "dot", hollow: true } satisfies LegendEntry]
      : []),
    { label: "not even 256 tokens a rank fit", colour: ink.text, shape: "cross" },
  ];
}

const conditionOf = ({ device, memoryGiB, recompute }: LongestStepsRow): string =>
  `${device.split(/[ -]/)[0]} ${memoryGiB} GiB, ${{ none: "all kept", selective: "activations kept", full: "recomputed" }[recompute]}`;

const letterOf = (index: number): string => String.fromCharCode("a".charCodeAt(0) + index);

/** The domain and ticks that all panels share; ticks are a factor of four or more apart. */
function tokensAxis(rows: readonly LongestStepsRow[]): { domain: [number, number]; ticks: number[] } {
  const logs = rows.map(({ tokens }) => Math.log2(tokens));
  const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
  const apart = Math.max(2, Math.ceil((high - low) / 5));
  const ticks: number[] = [];
  for (let log = low; log <= high; log += apart) ticks.push(2 ** log);
  return { ticks, domain: [2 ** low / 1.5, 2 ** high * 1.2] };
}

/** `512k`, `4M`. */
const shortTokens = (tokens: number): string =>
  tokens >= 2 ** 20 ? `${tokens / 2 ** 20}M` : tokens >= 1024 ? `${tokens / 1024}k` : String(tokens);

/** Strategies beside each other at each number of ranks. */
function marksOf(
  rows: readonly LongestStepsRow[],
  {
    ranks,
    strategies,
    bottom,
  }: { readonly ranks: readonly number[]; readonly strategies: readonly string[]; readonly bottom: number },
): Markish[] {
  const placeOf = ({ ranks: count, strategy }: LongestStepsRow) =>
    ranks.indexOf(count) + 0.8 * ((strategies.indexOf(strategy) + 0.5) / strategies.length - 0.5);
  const colourOf = ({ strategy }: LongestStepsRow) => layerStrategyColour(strategy, strategies.indexOf(strategy));
  const [fitting, others] = [rows.filter(({ tokens }) => tokens > 0), rows.filter(({ tokens }) => tokens === 0)];
  // Where one placement of several fits nothing, the mark of another says enough.
  const crosses = others.filter((row) => !fitting.some((each) => placeOf(each) === placeOf(row)));
  return [
    ruleX(fitting, { x: placeOf, y1: bottom, y2: "tokens", stroke: colourOf, strokeWidth: 0.8 }),
    dot(fitting, {
      ...{ x: placeOf, y: "tokens", r: 2, stroke: colourOf },
      fill: (row: LongestStepsRow) => (row.weights === "replicated" ? ink.paper : colourOf(row)),
    }),
    dot(crosses, { x: placeOf, y: bottom * 1.3, symbol: "times", r: 1.7, stroke: colourOf }),
  ];
}
