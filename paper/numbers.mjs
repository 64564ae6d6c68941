import { errorBound, faultOfTrial, median, summarise } from "@hsap/bench";

/**
 * Every number of the paper's text and tables, derived from raw trials: those measured together with the last one.
 *
 * @param trials records of `trials.jsonl`
 * @param environments records of `environment.json`
 * @param baseline the strategy that ratios are to
 */
export function numbersOf(trials, environments, baseline) {
  const sweep = trials.filter((trial) => sweepOf(trial) === sweepOf(trials.at(-1)));
  const [first] = sweep;
  const right = sweep.filter((trial) => faultOfTrial(trial) === undefined);
  const forward = right.filter(({ strategy, problem }) => strategy === "hsap" && problem.pass === "forward");
  const { tokens, heads, kvHeads, headDim, dtype } = first.problem;
  return {
    experiment: first.experiment,
    baseline,
    trials: { all: sweep.length, right: right.length, sameBits: sweep.filter(({ sameBits }) => sameBits).length },
    error: { forward: worstError(sweep, "forward"), backward: worstError(sweep, "backward") },
    setting: {
      tokens,
      heads,
      kvHeads,
      headDim,
      dtype,
      ranks: first.ranks,
      nodes: Math.ceil(first.ranks / first.ranksPerNode),
      mixes: [...new Set(sweep.map(({ problem }) => problem.mix))],
      strategies: [...new Set(sweep.map(({ strategy }) => strategy))],
      packs: new Set(sweep.map(({ problem }) => problem.lengthsDigest)).size,
      repeats: new Set(sweep.map(({ repeat }) => repeat)).size,
    },
    environment: environments.find(({ id }) => id === first.environment) ?? null,
    comparison: comparisonOf(summarise(right, baseline), baseline),
    compileMs: medianOf(forward.map(({ compileMs }) => compileMs)),
    stepMs: medianOf(forward.map(({ wallMs }) => wallMs)),
  };
}

/** HSAP against the baseline: one row for each mix and variant, both passes side by side. */
function comparisonOf(rows, baseline) {
  const partner = (row) =>
    rows.find(({ strategy, mix, pass }) => strategy === baseline && mix === row.mix && pass === row.pass);
  const variants = new Map();
  for (const row of rows.filter(({ strategy }) => strategy === "hsap")) {
    const other = partner(row);
    if (other === undefined) continue;
    const key = `${row.mix} ${row.variant}`;
    const entry = variants.get(key) ?? { mix: row.mix, variant: row.variant };
    entry[row.pass] = {
      wallRatio: row.wallRatio,
      criticalPathRatio: row.criticalPathRatio,
      longestChainRatio: row.longestChainRatio,
      areaBalance: row.areaBalance,
      baselineAreaBalance: other.areaBalance,
      betweenNodesRatio: other.betweenNodesBytes === 0 ? null : row.betweenNodesBytes / other.betweenNodesBytes,
      receivedRatio: other.receivedBytesMax === 0 ? null : row.receivedBytesMax / other.receivedBytesMax,
    };
    variants.set(key, entry);
  }
  return [...variants.values()];
}

function worstError(trials, pass) {
  const errors = trials.filter(({ problem }) => problem.pass === pass).flatMap(({ error }) => Object.values(error));
  const bound = errorBound(pass === "forward" ? "o" : "dq", trials[0].problem.dtype);
  return { worst: errors.length === 0 ? null : Math.max(...errors), bound };
}

function sweepOf({ experiment, environment, problem, ranks, ranksPerNode }) {
  const { tokens, heads, kvHeads, headDim, dtype, mask } = problem;
  return JSON.stringify([experiment, environment, tokens, heads, kvHeads, headDim, dtype, mask, ranks, ranksPerNode]);
}

const medianOf = (values) => (values.length === 0 ? null : median(values));
