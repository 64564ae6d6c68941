/**
 * Sets the paper: draws the figures from results, derives its numbers from the same trials, and compiles the Typst sources.
 *
 *     node paper/build.mjs [RESULTS]
 *
 * RESULTS is a folder with measured `trials.jsonl`; the newest of this machine, or else the reference results, where left out. Whole training
 * steps and losses come from the newest or reference results of `models` and `contamination`. Writes `paper/build/hsap.pdf`. Typst (about 50 MB) is installed beside this file when it is first asked for.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readEnvironments, readLossRuns, readModelTrials, readTrials } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { packages } from "../scripts/setup/packages.mjs";
import { stepRunner } from "../scripts/setup/run-step.mjs";
import { SetupError } from "../scripts/setup/setup-error.mjs";
import { lossNumbersOf, modelNumbersOf } from "./model-numbers.mjs";
import { numbersOf } from "./numbers.mjs";

const place = fileURLToPath(new URL(".", import.meta.url));
const root = path.join(place, "..");
const build = path.join(place, "build");
const say = (line) => process.stderr.write(`paper: ${line}\n`);

/** Ratios in the text are to this strategy. */
const baseline = "ring";

try {
  const results = process.argv[2] ?? resultsFolder("evaluation");
  const [models, contamination] = ["models", "contamination"].map(resultsFolder);
  const trials = readTrials(path.join(results, "trials.jsonl")).trials;
  if (trials.length === 0) throw new InputError(`no trials: ${results} (run npm run experiment first)`);
  const environments = readEnvironments(path.join(results, "environment.json"));
  mkdirSync(build, { recursive: true });
  const numbers = {
    ...numbersOf(trials, environments, baseline),
    models: modelNumbersOf(readModelTrials(path.join(models, "trials.jsonl")).trials),
    losses: lossNumbersOf(readLossRuns(path.join(contamination, "trials.jsonl")).trials),
  };
  writeFileSync(path.join(build, "numbers.json"), `${JSON.stringify(numbers, null, 1)}\n`);
  for (const folder of [results, models, contamination]) await drawFigures(folder);
  if (!packages.isFresh(place)) await packages.make(place, say, stepRunner(place));
  console.log(setPaper(Date.parse(trials.at(-1).at)));
} catch (error) {
  if (!(error instanceof InputError) && !(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = error instanceof InputError ? 2 : 1;
}

/** The newest results of this machine, or the reference results that come with the project. */
function resultsFolder(experiment) {
  const own = path.join(root, "results", experiment);
  return existsSync(path.join(own, "trials.jsonl")) ? own : path.join(root, "results/reference", experiment);
}

async function drawFigures(results) {
  const command = [path.join(root, "packages/cli/bin/hsap.js"), "figures"];
  const options = ["--results", path.resolve(results), "--out", path.join(build, "figures")];
  await stepRunner(root)(process.execPath, [...command, ...options]);
}

/** Compiles `main.typ` and returns the PDF's path. `date` (ms since 1970) is the PDF's own, so that equal results give equal bytes. */
function setPaper(date) {
  const { NodeCompiler } = createRequire(import.meta.url)("@myriaddreamin/typst-ts-node-compiler");
  const font = path.dirname(createRequire(import.meta.url).resolve("@expo-google-fonts/arimo/package.json"));
  const fontPaths = ["400Regular", "400Regular_Italic", "700Bold"].map((style) => path.join(font, style));
  const compiler = NodeCompiler.create({ workspace: place, fontArgs: [{ fontPaths }] });
  const compiled = compiler.compile({ mainFilePath: path.join(place, "main.typ") });
  if (compiled.hasError()) {
    compiled.printErrors();
    throw new SetupError("main.typ does not compile (its errors are above)");
  }
  const file = path.join(build, "hsap.pdf");
  writeFileSync(`${file}.unfinished`, compiler.pdf(compiled.result, { creationTimestamp: Math.floor(date / 1000) }));
  renameSync(`${file}.unfinished`, file);
  return path.relative(process.cwd(), file);
}
