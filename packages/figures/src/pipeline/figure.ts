import type { PipelineStep } from "@hsap/bench";
import { accountOf } from "@hsap/schedule";
import { documentsOf, InputError } from "@hsap/workload";
import { stringify } from "csv-stringify/sync";
import { fullCount, rangeOf } from "../drawing/amount.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { heading } from "../drawing/panel.ts";
import type { Figure } from "../figure.ts";
import { activityColour, compileColour } from "./colours.ts";
import { type LaneBar, laneBars } from "./lanes.ts";
import { rankLanes, rankLanesHeight } from "./rank-lanes.ts";
import { stepLanes, stepLanesHeight } from "./step-lanes.ts";

export interface PipelineInput {
  /** Steps in order; while one executes, the next is compiled. */
  readonly steps: readonly PipelineStep[];
  /** Index of the step whose lanes are shown; the one with the most bytes between nodes where left out. */
  readonly detail?: number | undefined;
  /** What they ran on: `8 ranks as threads on 2 cores`. */
  readonly machine: string;
}

/**
 * Figure 2: each step's schedule is compiled while the step before runs; and what the ranks do inside a step.
 *
 * @throws InputError if there is no step.
 */
export function drawPipeline({ steps, detail = busiestStep(steps), machine }: PipelineInput): Figure {
  if (steps.length === 0) throw new InputError("invalid pipeline: 0 steps (needs at least 1)");
  const { schedule, trace } = steps[detail];
  const bars = laneBars(schedule, trace);
  const width = columnWidth.double;
  const { levels } = schedule.problem.cluster;
  const key = legend(
    legendEntries(
      bars,
      levels.map(({ name }) => name),
    ),
    { width },
  );
  const lanesTop = 16 + stepLanesHeight + 14;
  const svg = drawPage({
    width,
    bodyHeight: lanesTop + 7 + rankLanesHeight(schedule),
    title: "The just-in-time pipeline: a step is compiled while the step before it executes",
    caption: captionOf(steps, machine),
    legend: key,
    panels: [
      heading(0, 9, "a", `compile and execute (${trace.origin}, ms)`),
      stepLanes(steps, { x: 0, y: 13, width }),
      heading(
        0,
        lanesTop,
        "b",
        `lanes of each rank in step ${detail} (${trace.origin}): above, transfers; below, computation`,
      ),
      rankLanes(schedule, trace, bars, { x: 0, y: lanesTop + 5, width }),
    ],
  });
  return { number: 2, name: "pipeline", svg, data: { ending: "csv", text: tableOf(steps, detail, bars) } };
}

/** The first of the steps that send the most bytes between nodes. */
function busiestStep(steps: readonly PipelineStep[]): number {
  const bytes = steps.map(({ schedule }) => accountOf(schedule).betweenNodesBytes);
  return bytes.indexOf(Math.max(...bytes));
}

function legendEntries(bars: readonly LaneBar[], levelNames: readonly string[]): LegendEntry[] {
  const levels = [...new Set(bars.flatMap(({ activity }) => (typeof activity === "object" ? [activity.level] : [])))];
  const entries: LegendEntry[] = [
    { label: "compile", colour: compileColour },
    { label: "execution, attention tiles", colour: activityColour("attention") },
  ];
  if (bars.some(({ activity }) => activity === "sums")) {
    entries.push({ label: "merges, sums, copies", colour: activityColour("sums") });
  }
  for (const level of levels.sort()) {
    const where = level === 0 ? "inside a node" : level === 1 ? "between nodes" : "between groups";
    const label = `transfers ${where} (${levelNames[level]})`;
    entries.push({ label, colour: activityColour({ level }), shape: "thin" });
  }
  return entries;
}

function captionOf(steps: readonly PipelineStep[], machine: string): string {
  const { problem, strategy, degrees } = steps[0].schedule;
  const named = Object.entries(degrees).map(([name, size]) => `${name} ${size}`);
  const documents = steps.map(({ schedule }) => documentsOf(schedule.problem.batch));
  const { heads, kvHeads, headDim, dtype } = problem.shape;
  const tokens = problem.batch.cuSeqlens[problem.batch.cuSeqlens.length - 1];
  return (
    `${strategy}${named.length > 0 ? ` (${named.join(" x ")})` : ""}, ${problem.pass} pass, ${steps.length} packs of ${rangeOf(documents)} documents ` +
    `and ${fullCount(tokens)} tokens, ${heads} query and ${kvHeads} kv heads of ${headDim}, ${dtype}; ${machine}. ` +
    "Executing is the whole call of the engine, which also makes the inputs."
  );
}

function tableOf(steps: readonly PipelineStep[], detail: number, bars: readonly LaneBar[]): string {
  const { origin } = steps[detail].trace;
  const phases = steps.flatMap(({ compile, execute }, step) =>
    [
      { name: "compile", span: compile },
      { name: "execute", span: execute },
    ].map(({ name, span }) => ({
      step,
      rank: "",
      lane: name,
      activity: name,
      beginUs: span.beginMs * 1000,
      endUs: span.endMs * 1000,
      ops: "",
      origin,
    })),
  );
  const lanes = bars.map(({ activity, ...bar }) => ({
    step: detail,
    ...bar,
    activity: typeof activity === "object" ? `transfer, level ${activity.level}` : activity,
    origin,
  }));
  const columns = ["step", "rank", "lane", "activity", "beginUs", "endUs", "ops", "origin"];
  return stringify([...phases, ...lanes], { header: true, columns });
}
