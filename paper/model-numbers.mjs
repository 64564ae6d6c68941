import { bestSteps, lossRunName } from "@hsap/bench";

/**
 * What the paper says of whole training steps: from the trials that were predicted by the same code as the last one. Null where there are none.
 *
 * @param trials records of a model sweep's `trials.jsonl`
 */
export function modelNumbersOf(trials) {
  const last = trials.at(-1);
  if (last === undefined) return null;
  const steps = bestSteps(trials.filter(({ environment }) => environment === last.environment));
  const of = (name) => [...new Set(steps.map((step) => step[name]))];
  return {
    clusters: of("cluster").map((name) => {
      const { device } = steps.find(({ cluster }) => cluster === name);
      return { name, device: device.name, memoryGiB: device.memoryGiB };
    }),
    models: of("model"),
    mixes: of("mix"),
    ranks: of("ranks").sort((a, b) => a - b),
    tokensPerRank: steps[0].tokens / steps[0].ranks,
    steps: steps.length,
    outcomes: Object.fromEntries(
      of("strategy").map((strategy) => [strategy, countsOf(steps.filter((step) => step.strategy === strategy))]),
    ),
    againstHsap: Object.fromEntries(
      of("strategy")
        .filter((strategy) => strategy !== "hsap")
        .map((strategy) => [strategy, ratiosTo(steps, strategy)]),
    ),
  };
}

function countsOf(steps) {
  const count = (kind) => steps.filter(({ best }) => best.outcome.kind === kind).length;
  return { fits: count("fits"), outOfMemory: count("out of memory"), refused: count("refused") };
}

/** HSAP's tokens a second by the strategy's, wherever both fit: the lowest, median and highest, and where HSAP alone fits. */
function ratiosTo(steps, strategy) {
  const cells = steps
    .filter((step) => step.strategy === "hsap" && step.best.outcome.kind === "fits")
    .map((own) => [own, steps.find((other) => other.strategy === strategy && isSameCell(own, other))]);
  const ratios = cells
    .filter(([, other]) => other?.best.outcome.kind === "fits")
    .map(([own, other]) => own.best.outcome.tokensPerSecond / other.best.outcome.tokensPerSecond)
    .sort((a, b) => a - b);
  if (ratios.length === 0) return null;
  return {
    cells: ratios.length,
    alone: cells.length - ratios.length,
    low: ratios[0],
    median: ratios[Math.floor((ratios.length - 1) / 2)],
    high: ratios[ratios.length - 1],
  };
}

const isSameCell = (a, b) =>
  ["cluster", "model", "ranks", "mix", "seed", "tokens"].every((name) => a[name] === b[name]);

/**
 * What the paper says of attention across borders: from the runs of the same environment as the last one. Null where there are none.
 *
 * @param runs records of a losses experiment's `trials.jsonl`
 */
export function lossNumbersOf(runs) {
  const last = runs.at(-1);
  if (last === undefined) return null;
  const own = runs.filter(({ environment, mix, seed }) => {
    return environment === last.environment && mix === last.mix && seed === last.seed;
  });
  const reference = own.find(({ strategy, faithful }) => strategy === "reference" && !faithful);
  if (reference === undefined) return null;
  const { model, mix, tokens, steps } = reference;
  const farthest = (run) => Math.max(...run.losses.map((loss, i) => Math.abs(loss - reference.losses[i])));
  const group = (faithful) => {
    const runs = own.filter((run) => run !== reference && run.faithful === faithful);
    return { names: runs.map(lossRunName), farthest: runs.length === 0 ? null : Math.max(...runs.map(farthest)) };
  };
  return { model, mix, tokens, steps, inside: group(false), across: group(true) };
}
