import { InputError } from "@hsap/workload";
import { dot, line, type Markish } from "@observablehq/plot";
import { bottomAxis, leftAxis } from "../drawing/axes.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { ink } from "../drawing/palette.ts";
import { heading, type Panel, plotPanel, subheading } from "../drawing/panel.ts";
import { layerStrategyColour } from "../model-steps/strategy-colour.ts";

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
 * The longest step by ranks: a column of panels for each model, a row for each device and way to recompute, all with one vertical axis.
 * Dashed and hollow where weights are replicated. Where nothing fits there is no mark. Returns the SVG.
 *
 * @throws InputError if there is nothing that fits.
 */
export function drawLongestSteps({ documents, rows }: LongestStepsInput): string {
  const drawn = rows.filter(({ tokens }) => tokens > 0);
  if (drawn.length === 0) throw new InputError("invalid steps: there are none to draw");
  const models = [...new Set(rows.map(({ model }) => model))];
  const conditions = [...new Set(rows.map(conditionOf))];
  const strategies = [...new Set(rows.map(({ strategy }) => strategy))];
  const width = columnWidth.double;
  const room = width / models.length;
  const pitch = top + plotHeight + axisHeight + rowGap;
  const axes = axesOf(drawn);
  const panels = conditions.flatMap((condition, row) =>
    models.flatMap((model, column): Panel[] => {
      const [x, y] = [column * room, row * pitch];
      const own = drawn.filter((each) => each.model === model && conditionOf(each) === condition);
      const box = { x, y: y + top, width: room, height: plotHeight + axisHeight };
      return [
        heading(x + 2, y + 9, letterOf(row * models.length + column), model),
        subheading(x + 2, y + 19, condition),
        plotPanel(
          { ...box, marginLeft, marginRight: 8, marginTop: 4, marginBottom: axisHeight },
          {
            x: { type: "log", base: 2, domain: axes.x },
            y: { type: "log", base: 2, domain: axes.y },
            marks: [
              ...strategies.flatMap((strategy, i) =>
                (["replicated", "grouped", "sharded", "own"] as const).flatMap((weights) =>
                  marksOf(
                    own.filter((each) => each.strategy === strategy && each.weights === weights),
                    layerStrategyColour(strategy, i),
                  ),
                ),
              ),
              bottomAxis("ranks", { ticks: axes.ranks, tickFormat: String }),
              leftAxis("", 24, { ticks: axes.tokens, tickFormat: shortTokens }),
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
    caption: `Memory counted from the schedules, of the rank that needs most. ${documents} No mark: nothing fits, or the strategy cannot split the model so.`,
    legend: legend(
      [
        ...strategies.map((label, i): LegendEntry => ({ label, colour: layerStrategyColour(label, i), shape: "dot" })),
        { label: "weights sharded, or megatron's own", colour: ink.text, shape: "line" },
        { label: "weights replicated", colour: ink.text, shape: "dashes" },
      ],
      { width },
    ),
    panels,
  });
}

const conditionOf = ({ device, memoryGiB, recompute }: LongestStepsRow): string =>
  `${device.split(/[ -]/)[0]} ${memoryGiB} GiB, ${{ none: "all kept", selective: "selective", full: "recomputed" }[recompute]}`;

const letterOf = (index: number): string => String.fromCharCode("a".charCodeAt(0) + index);

/** Domains and ticks that all panels share; ticks of tokens are a factor of four or more apart. */
function axesOf(rows: readonly LongestStepsRow[]) {
  const ranks = [...new Set(rows.map((row) => row.ranks))].sort((a, b) => a - b);
  const logs = rows.map(({ tokens }) => Math.log2(tokens));
  const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
  const apart = Math.max(2, Math.ceil((high - low) / 5));
  const tokens: number[] = [];
  for (let log = low; log <= high; log += apart) tokens.push(2 ** log);
  return {
    ...{ ranks, tokens },
    x: [ranks[0] / 1.2, ranks[ranks.length - 1] * 1.2],
    y: [2 ** low / 1.2, 2 ** high * 1.2],
  };
}

/** `512k`, `4M`. */
const shortTokens = (tokens: number): string =>
  tokens >= 2 ** 20 ? `${tokens / 2 ** 20}M` : tokens >= 1024 ? `${tokens / 1024}k` : String(tokens);

function marksOf(rows: readonly LongestStepsRow[], colour: string): Markish[] {
  if (rows.length === 0) return [];
  const points = [...rows].sort((a, b) => a.ranks - b.ranks);
  const replicated = points[0].weights === "replicated";
  return [
    line(points, {
      ...{ x: "ranks", y: "tokens", stroke: colour, strokeWidth: 1 },
      ...(replicated ? { strokeDasharray: "2,1.5" } : {}),
    }),
    dot(points, { x: "ranks", y: "tokens", r: 2, stroke: colour, fill: replicated ? ink.paper : colour }),
  ];
}
