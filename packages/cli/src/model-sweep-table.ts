import { type BestStep, formatDegrees, type ModelSweepResult, predictedStepOf } from "@hsap/bench";
import { memoryKinds } from "@hsap/model";
import { type Column, formatTable, shortNumber } from "./table.ts";

/** The best step of each strategy as one table, and what its columns mean. */
export function formatSweep(result: ModelSweepResult, steps: readonly BestStep[], version: string): string {
  const { experiment, environment, trials } = result;
  const { sweep, baseline } = experiment;
  const rates = new Map(steps.map((step) => [cellOf(step, step.strategy), rateOf(step)]));
  const versus = (step: BestStep): string => {
    const [own, other] = [rateOf(step), rates.get(cellOf(step, baseline))];
    return own === undefined || other === undefined ? "-" : (own / other).toFixed(2);
  };
  const header = [
    `hsap ${version}, node ${environment.node}, code ${environment.code}`,
    `arguments: ${environment.arguments.join(" ") || "none"}`,
    `${experiment.title}: profile ${experiment.profile}, origin simulated; memory: counted, of the rank that needs most`,
    `${sweep.tokensPerRank === undefined ? "" : `${sweep.tokensPerRank} tokens a rank, `}${sweep.dtype}; the backward pass computes again: the first of ${sweep.recompute.join(", ")} that fits`,
  ];
  const footer = [
    "Each row is the fastest of the degrees and weight placements that were tried and fit; where none fits, the one that needs least.",
    `own: tokens/s with the strategy's own choice of degrees, without tensor ranks and data groups, of these. /${baseline}: tokens/s by ${baseline}'s.`,
    `${trials.length} steps, ${result.predictedNow} of them predicted now`,
  ];
  return [
    ...header.map((line) => `# ${line}\n`),
    formatTable(columns(`/${baseline}`, versus), steps),
    ...footer.map((line) => `# ${line}\n`),
  ].join("");
}

const cellOf = ({ cluster, model, ranks, mix, seed }: BestStep, strategy: string): string =>
  JSON.stringify([cluster, model, ranks, mix, seed, strategy]);

/** Tokens a second, where it fits. */
const rateOf = ({ best: { outcome } }: BestStep): number | undefined =>
  outcome.kind === "fits" ? outcome.tokensPerSecond : undefined;

function columns(title: string, versus: (step: BestStep) => string): Column<BestStep>[] {
  const fitting = (value: (outcome: NonNullable<ReturnType<typeof predictedStepOf>>) => string) => (step: BestStep) => {
    const { outcome } = step.best;
    return outcome.kind === "fits" ? value(outcome) : "-";
  };
  const gibibytes = (kind: string) => (step: BestStep) => {
    const bytes = predictedStepOf(step.best)?.memory[kind];
    return bytes === undefined ? "-" : shortNumber(bytes / 2 ** 30);
  };
  return [
    { title: "cluster", align: "left", value: ({ cluster }) => cluster },
    { title: "model", align: "left", value: ({ model }) => model },
    { title: "ranks", value: ({ ranks }) => String(ranks) },
    { title: "mix", align: "left", value: ({ mix }) => mix },
    { title: "tokens", value: ({ tokens }) => String(tokens) },
    { title: "strategy", align: "left", value: ({ strategy }) => strategy },
    { title: "degrees", align: "left", value: ({ best }) => formatDegrees(predictedStepOf(best)?.degrees ?? {}) },
    { title: "again", align: "left", value: ({ best }) => predictedStepOf(best)?.recompute ?? "-" },
    { title: "step", unit: "ms", value: fitting(({ stepMs }) => shortNumber(stepMs)) },
    { title: "tokens", unit: "/s", value: fitting(({ tokensPerSecond }) => shortNumber(tokensPerSecond)) },
    { title: "TFLOP/s", unit: "/rank", value: fitting(({ tflopsPerDevice }) => shortNumber(tflopsPerDevice)) },
    { title: "MFU", value: fitting(({ mfu }) => mfu.toFixed(3)) },
    { title, value: versus },
    { title: "own", value: ownShare },
    ...[...memoryKinds, "total"].map((kind) => ({ title: kind, unit: "GiB", value: gibibytes(kind) })),
    { title: "result", align: "left", value: resultOf },
  ];
}

function ownShare({ best, own }: BestStep): string {
  if (best.outcome.kind !== "fits" || own?.outcome.kind !== "fits") return "-";
  return (own.outcome.tokensPerSecond / best.outcome.tokensPerSecond).toFixed(2);
}

function resultOf({ best: { outcome, device } }: BestStep): string {
  if (outcome.kind === "refused") return outcome.reason;
  return outcome.kind === "fits" ? "fits" : `out of memory (${device.memoryGiB} GiB)`;
}
