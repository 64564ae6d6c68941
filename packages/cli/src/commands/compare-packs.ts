import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import {
  besidePublished,
  comparePacks as compareOnPacks,
  PredictedLog,
  packSetting,
  predictPacks,
  replayProblem,
  replayStrategies,
  strategies,
  strategyNamed,
  workspacePath,
} from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { exitCodes } from "../exit-codes.ts";
import { passesOf, seedOf } from "../given-problem.ts";
import { interruptible } from "../interruption.ts";
import { commaList, wholeNumber } from "../option-values.ts";
import { packPage } from "../pack-page.ts";
import { predictedPage } from "../predicted-page.ts";
import type { CommandContext, CompareOptions } from "../program.ts";
import { startProgress } from "../progress.ts";
import { type ReplayedPack, replayedPage } from "../replayed-page.ts";

/** The options that `--packs` takes; the packs' problem is fixed, so that the page can be compared with what was published. */
const taken = ["packs", "out", "all", "json", "strategy", "pack", "option"];
const takenPredicted = ["packs", "predict", "out", "json", "strategy", "pack", "pass", "kvHeads", "option"];
const takenReplayed = ["packs", "replay", "repeats", "out", "json", "strategy", "pack", "pass", "seed", "option"];

/** `hsap compare --packs`: all strategies on the packs that come with the project, as a page. */
export async function comparePacks(options: CompareOptions, { output, finish }: CommandContext): Promise<void> {
  const known = options.predict ? takenPredicted : options.replay ? takenReplayed : taken;
  const other = Object.keys(options).find((name) => !known.includes(name));
  if (other !== undefined || (options.option ?? []).length > 0) {
    throw new InputError(
      `conflicting options: --packs and --${dashed(other ?? "option")} (the packs' problem is fixed)`,
    );
  }
  if (options.predict) {
    await predictOnPacks(options, output);
    return;
  }
  if (options.replay) {
    await replayOnPacks(options, { output, finish });
    return;
  }
  const progress = await startProgress(output);
  try {
    const compared = await interruptible(
      () => "interrupted: the page is not written; start it again",
      (signal) =>
        compareOnPacks({
          ...(options.pack !== undefined && { packs: [options.pack] }),
          // Ratios are to hsap, so it is always there.
          ...(options.strategy !== undefined && { strategies: [options.strategy, "hsap"].map(strategyNamed) }),
          all: options.all,
          signal,
          onProgress: progress.update,
        }),
    );
    if (options.json) output.out(`${JSON.stringify(compared.map(summaryOf), null, 2)}\n`);
    else writePage(options.out ?? workspacePath("docs/comparison.md"), packPage(compared, commandOf(options)), output);
    const broken = compared.flatMap(({ name, comparison: { rows } }) =>
      rows.flatMap(({ strategy, findings }) => (findings.length > 0 ? [`${strategy} on ${name}: ${findings[0]}`] : [])),
    );
    if (broken.length === 0) return;
    output.err(`hsap: ${broken.length} schedules break a rule (${broken[0]})\n`);
    finish(exitCodes.failed);
  } finally {
    progress.stop();
  }
}

/** `hsap compare --packs --predict`: hsap beside the fastest of all others on the packs, simulated. */
async function predictOnPacks(options: CompareOptions, output: CommandContext["output"]): Promise<void> {
  const kvHeads = commaList(options.kvHeads ?? String(packSetting.shape.kvHeads)).map((text) =>
    wholeNumber("kv-heads", text),
  );
  const compared = options.strategy === undefined ? strategies : [options.strategy, "hsap"].map(strategyNamed);
  const page = options.out ?? workspacePath(isDefault(kvHeads) ? "docs/predicted.md" : "docs/predicted-kv-heads.md");
  const log = new PredictedLog(
    rowsBeside(page),
    compared.map(({ name }) => name),
  );
  if (log.stale > 0) output.err(`${log.stale} predictions of other code are dropped\n`);
  if (log.size > 0) output.err(`${log.size} predictions are known from ${near(rowsBeside(page))}\n`);
  const progress = await startProgress(output);
  try {
    const { predicted, published } = await interruptible(
      () => "interrupted: what is predicted is kept; the same command goes on",
      async (signal) => ({
        predicted: await predictPacks({
          ...(options.pack !== undefined && { packs: [options.pack] }),
          strategies: compared,
          passes: passesOf(options, ["forward", "backward"]),
          kvHeads,
          log,
          signal,
          onProgress: progress.update,
        }),
        // The published settings are the whole page's, and have 8 kv heads.
        published:
          options.pack === undefined && options.strategy === undefined && isDefault(kvHeads)
            ? await besidePublished({ packs: publishedPacks, seed: 1, signal })
            : [],
      }),
    );
    if (options.json) output.out(`${JSON.stringify(predicted, null, 2)}\n`);
    else writePage(page, predictedPage({ packs: predicted, published, command: commandOf(options) }), output);
  } finally {
    progress.stop();
    log.close();
  }
}

/** As many as `hsap simulate --calibration` takes, so that both stand on the same. */
const publishedPacks = { small: 5, large: 3 };

const isDefault = (kvHeads: readonly number[]) => kvHeads.length === 1 && kvHeads[0] === packSetting.shape.kvHeads;

/** The predictions of a page: `predicted.md` has `predicted.rows.jsonl`. */
const rowsBeside = (page: string): string => `${page.replace(/\.md$/, "")}.rows.jsonl`;

/** `hsap compare --packs --replay`: what ranks compute was measured here, the links between them are modelled. */
async function replayOnPacks(
  options: CompareOptions,
  { output, finish }: Pick<CommandContext, "output" | "finish">,
): Promise<void> {
  const repeats = wholeNumber("repeats", options.repeats ?? "5");
  // Non-parallel attention on one rank and unfused scores take longest, and say nothing of links.
  const compared =
    options.strategy === undefined
      ? strategies.filter(({ name }) => name !== "reference" && name !== "colai-sp")
      : [options.strategy, "hsap"].map(strategyNamed);
  const packs = options.pack === undefined ? ["hybrid-16", "code-16", "single-16"] : [options.pack];
  const cells = packs.flatMap((name) => passesOf(options, ["forward", "backward"]).map((pass) => ({ name, pass })));
  const progress = await startProgress(output);
  try {
    const replayed = await interruptible(
      () => "interrupted: nothing is kept of a replay; start it again",
      async (signal) => {
        const done: ReplayedPack[] = [];
        for (const { name, pass } of cells) {
          const comparison = await replayStrategies(replayProblem(name, pass), {
            strategies: compared,
            repeats,
            seed: seedOf(options),
            signal,
            onProgress: (share, label) => progress.update((done.length + share) / cells.length, `${name} ${label}`),
          });
          done.push({ name, comparison });
        }
        return done;
      },
    );
    if (options.json)
      output.out(`${JSON.stringify({ origin: "replayed", packs: replayed.map(replayedSummary) }, null, 2)}\n`);
    else
      writePage(options.out ?? workspacePath("docs/replayed.md"), replayedPage(replayed, commandOf(options)), output);
    const faults = replayed.flatMap(({ comparison: { rows } }) => rows.flatMap(({ fault }) => fault ?? []));
    if (faults.length === 0) return;
    output.err(`hsap: ${faults.length} schedules are wrong (${faults[0]})\n`);
    finish(exitCodes.failed);
  } finally {
    progress.stop();
  }
}

const replayedSummary = ({ name, comparison: { problem, repeats, rows } }: ReplayedPack) => ({
  pack: name,
  pass: problem.pass,
  repeats,
  strategies: rows,
});

type Compared = Awaited<ReturnType<typeof compareOnPacks>>[number];

const summaryOf = ({ name, ranks, comparison: { bounds, rows, refused, tooLarge } }: Compared) => ({
  pack: name,
  ranks,
  bounds,
  strategies: rows,
  refused,
  tooLarge,
});

function writePage(file: string, page: string, output: CommandContext["output"]): void {
  try {
    writeFileSync(file, page);
  } catch (error) {
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
  output.out(`${near(file)}\n`);
}

function near(file: string): string {
  const from = relative(process.cwd(), file);
  return from.startsWith("..") ? file : from;
}

/** The command that makes the same page again. */
const commandOf = ({ all, pack, strategy, predict, replay, repeats, pass, kvHeads }: CompareOptions): string =>
  [
    "npx hsap compare --packs",
    predict && "--predict",
    replay && "--replay",
    repeats && `--repeats ${repeats}`,
    pass && `--pass ${pass}`,
    kvHeads && `--kv-heads ${kvHeads}`,
    pack && `--pack ${pack}`,
    strategy && `--strategy ${strategy}`,
    all && "--all",
  ]
    .filter(Boolean)
    .join(" ");

const dashed = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
