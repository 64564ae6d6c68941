import { Command } from "commander";
import { addLaunchOptions, type LaunchOptions } from "./launch-options.ts";
import { addModelOptions, type ModelOptions } from "./model-options.ts";
import type { Output } from "./output.ts";
import { addProblemOptions, collect, type ProblemOptions } from "./problem-options.ts";
import { addThreadOptions, type GivenThreads } from "./thread-options.ts";
import { addTrainOptions, type TrainOptions } from "./train-options.ts";

/** What every command is given besides its options. */
export interface CommandContext {
  readonly output: Output;
  readonly version: string;
  /** The command line. */
  readonly args: readonly string[];
  /** Sets the exit code where the command ends without an error. */
  finish(exitCode: number): void;
}

export interface CompileOptions extends ProblemOptions {
  readonly explain?: boolean;
  readonly text?: boolean;
  readonly out?: string;
  readonly schedule?: string;
}

export interface CalibrateOptions extends LaunchOptions {
  readonly ranksPerNode?: string;
  readonly out?: string;
  readonly repeats?: string;
  readonly dtype?: string;
  readonly check?: boolean;
  readonly hardware?: string;
  readonly pack?: string;
  readonly pass?: string;
  readonly ranks?: string;
  readonly json?: boolean;
}

export interface SimulateOptions extends ProblemOptions {
  readonly hardware?: string;
  readonly kernel?: string;
  readonly library?: string;
  readonly trace?: string;
  readonly sweep?: readonly string[];
  readonly replay?: boolean;
  readonly calibration?: boolean;
  readonly crossValidate?: boolean;
  readonly rows?: string;
}

export interface VerifyOptions extends ProblemOptions, LaunchOptions, GivenThreads {
  readonly quick?: boolean;
  readonly full?: boolean;
  readonly schedule?: string;
}

export interface CompareOptions extends ProblemOptions, LaunchOptions, GivenThreads {
  readonly predict?: boolean;
  readonly hardware?: string;
  readonly measure?: boolean;
  readonly repeats?: string;
  readonly all?: boolean;
  readonly figure?: string;
  readonly packs?: boolean;
  readonly replay?: boolean;
  readonly out?: string;
}

export interface JobOptions {
  readonly slurm?: boolean;
  readonly nodes?: string;
  readonly ranksPerNode?: string;
  readonly cpusPerRank?: string;
  readonly partition?: string;
  readonly time?: string;
  readonly sbatch?: readonly string[];
  readonly launcher?: string;
  readonly launcherArgs?: string;
  readonly out?: string;
  readonly dryRun?: boolean;
}

export interface ExperimentOptions extends ProblemOptions, LaunchOptions, GivenThreads {
  readonly profile: string;
  readonly results?: string;
  readonly repeats?: string;
  readonly figures: boolean;
  readonly list?: boolean;
}

export interface BenchKernelsOptions {
  readonly isa?: string;
  readonly dtype?: string;
  readonly headDim?: string;
  readonly mask?: string;
  readonly pass?: string;
  readonly tokens?: string;
  readonly mix?: string;
  readonly pack?: string;
  readonly packTokens?: string;
  readonly heads?: string;
  readonly kvHeads?: string;
  readonly repeats?: string;
  readonly peer?: string;
  readonly json?: boolean;
}

export interface BenchCompileOptions {
  readonly pack?: string;
  readonly scale?: boolean;
  readonly figure?: string;
  readonly strategy?: string;
  readonly repeats?: string;
  readonly json?: boolean;
}

export interface BenchSimulateOptions {
  readonly pack?: string;
  readonly strategy?: string;
  readonly pass?: string;
  readonly repeats?: string;
  readonly json?: boolean;
}

export interface BenchThreadsOptions extends ProblemOptions {
  readonly threads?: string;
  readonly repeats?: string;
  readonly pin?: string;
}

export interface BenchOverlapOptions extends ProblemOptions {
  readonly link?: string;
  readonly repeats?: string;
}

export interface FiguresOptions {
  readonly results?: string;
  readonly out?: string;
  readonly cluster?: string;
  readonly ranks?: string;
  readonly json?: boolean;
}

/** The command line. Commands are loaded when they are called, so that help and typing errors answer at once. */
export function program(context: CommandContext): Command {
  const { output, version } = context;
  const root = new Command("hsap")
    .description("Compile, verify, measure and draw parallel attention over packed documents.")
    .version(version, "-V, --version")
    .exitOverride()
    .configureOutput({ writeOut: output.out, writeErr: output.err, outputError: () => undefined });

  root
    .command("doctor")
    .description("say what this machine has and what is missing, with the remedy")
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }) => (await import("./commands/doctor.ts")).doctor(options, context));

  addProblemOptions(
    root.command("compile").description("compile one problem to a schedule, verify it, and count what it costs"),
  )
    .option("--explain", "say why hsap's schedule is as it is: what was weighed, what was cut, how far the bounds are")
    .option("--text", "print the schedule itself, op by op")
    .option("--out <file>", "write the schedule in binary form")
    .option("--schedule <file>", "read a schedule that --out wrote, instead of compiling one")
    .action(async (options: CompileOptions) => (await import("./commands/compile.ts")).compile(options, context));

  addProblemOptions(
    root
      .command("simulate")
      .description("predict the time of one problem on a cluster, for one strategy or all, without running it"),
  )
    .option(
      "--hardware <file>",
      "kernels and libraries from a file, as hsap calibrate writes it (default: the device's own)",
    )
    .option("--kernel <name>", "the attention kernel, by its name in the hardware file (default: its first)")
    .option("--library <name>", "the communication library, likewise")
    .option("--trace <file>", "write what each op does when as a Chrome trace, for Perfetto")
    .option(
      "--sweep <name=list>",
      "try each of a list: ranks=8,16, mix=a,b, tokens-per-rank=8192, degrees=all; may be repeated",
      collect,
      [],
    )
    .option("--replay", "measure the computation of a run on this machine, and model the links only")
    .option("--calibration", "instead of a problem, published measurements beside what is predicted of them")
    .option("--rows <file>", "with --calibration: other rows in the form of the project's own csv file")
    .option("--cross-validate", "with --calibration: predict rows with constants fitted to others (slow)")
    .action(async (options: SimulateOptions) => (await import("./commands/simulate.ts")).simulate(options, context));

  addLaunchOptions(root.command("calibrate"))
    .description(
      "measure this machine, so that hsap simulate predicts runs on it; or check such predictions against runs",
    )
    .option("--out <file>", "where the profile goes, a hardware file (default: machine.yaml)")
    .option("--repeats <n>", "how often each sample, or each schedule of --check, is run (default: 5)")
    .option("--dtype <list>", "what travels: fp32,bf16 (default: fp32)")
    .option("--check", "run every strategy on six packs, and show what the profile predicts beside it")
    .option("--hardware <file>", "with --check: a profile written before, instead of measuring one")
    .option("--pack <list>", "with --check: some of hybrid,instruct,magilaw,code,meetings,single (default: all)")
    .option("--pass <pass>", "with --check: forward or backward (default: both)")
    .option("--ranks <n>", "with --check or a launcher: how many ranks (default: 8)")
    .option("--ranks-per-node <n>", "with a launcher: ranks in one node (default: 4)")
    .option("--json", "print JSON")
    .action(async (options: CalibrateOptions) => (await import("./commands/calibrate.ts")).calibrate(options, context));

  addThreadOptions(
    addLaunchOptions(
      addProblemOptions(
        root
          .command("verify")
          .description("run strategies for real and check every output against non-parallel attention in float64")
          .addHelpText(
            "after",
            "\nWithout documents it runs the suite: every strategy and degree on 1 to 16 ranks, or on as many as a launcher starts.",
          ),
      ),
    ),
  )
    .option("--quick", "a smaller suite, under 20 s")
    .option("--full", "a larger suite: every pack with every shape, every document perturbed")
    .option("--schedule <file>", "verify a schedule that hsap compile --out wrote")
    .action(async (options: VerifyOptions) => (await import("./commands/verify.ts")).verify(options, context));

  addThreadOptions(
    addLaunchOptions(
      addProblemOptions(
        root
          .command("compare")
          .description("one problem, all strategies side by side: balance, bytes, memory, waste and the bounds"),
      ),
    ),
  )
    .option("--predict", "simulate every schedule on the cluster, and sort by predicted time")
    .option("--hardware <file>", "with --predict: a profile, as hsap calibrate writes it (default: the device's own)")
    .option("--measure", "run every schedule here, check its outputs, and sort by measured time")
    .option("--repeats <n>", "how often each schedule is measured (default: 5)")
    .option("--all", "also compile schedules that are estimated to be too large")
    .option("--figure <file>", "draw the comparison: .svg or .png")
    .option("--packs", "instead of one problem, the 24 packs that come with the project, as a page")
    .option("--replay", "with --packs: small packs run here, their links are modelled")
    .option("--out <file>", "where the page of --packs goes (default: docs/comparison.md)")
    .action(async (options: CompareOptions) => (await import("./commands/compare.ts")).compare(options, context));

  addThreadOptions(
    addLaunchOptions(
      addProblemOptions(
        root
          .command("experiment")
          .argument("[name]", "which experiment; see --list", "evaluation")
          .description("measure an experiment, verify each trial, and draw the figures")
          .addHelpText(
            "after",
            "\nProblem options replace the experiment's own. An interrupted run goes on where it stopped.",
          ),
      ),
    ),
  )
    .option("--profile <name>", "how much is measured: smoke (under 30 s), short (under 3 min) or full", "short")
    .option("--repeats <n>", "how often each variant runs (default: the profile's)")
    .option("--results <dir>", "where trials are kept (default: results/NAME)")
    .option("--no-figures", "draw no figures at the end")
    .option("--list", "list the experiments and end")
    .action(async (name: string, options: ExperimentOptions) =>
      (await import("./commands/experiment.ts")).experiment(name, options, context),
    );

  root
    .command("job")
    .argument("<command...>", "what the job runs, after --: experiment evaluation --profile short")
    .description("write a batch script that runs an experiment on the nodes of a cluster")
    .option("--slurm", "for Slurm's sbatch")
    .option("--nodes <n>", "nodes (default: 1)")
    .option("--ranks-per-node <n>", "ranks in one node (default: 4)")
    .option("--cpus-per-rank <n>", "processors of each rank (default: Slurm's)")
    .option("--partition <name>", "where it runs (default: Slurm's)")
    .option("--time <limit>", "when it must end: 30, 1:00:00 (default: Slurm's)")
    .option("--sbatch <text>", "a further directive, such as --account=a; may be repeated", collect, [])
    .option("--launcher <name>", "what starts the ranks inside of the job: srun or mpirun (default: srun)")
    .option("--launcher-args <text>", "further arguments of it, in quotes")
    .option("--out <file>", "where the script goes (default: hsap-job.sh)")
    .option("--dry-run", "write nothing; print the script and every command that it leads to")
    .action(async (command: readonly string[], options: JobOptions) =>
      (await import("./commands/job.ts")).job(command, options, context),
    );

  addModelOptions(
    root
      .command("model")
      .description("predict a training step of a model for several strategies: time, tokens a second, MFU, memory"),
  ).action(async (options: ModelOptions) =>
    options.maxTokens
      ? (await import("./commands/longest-steps.ts")).longestSteps(options, context)
      : (await import("./commands/model.ts")).model(options, context),
  );

  addTrainOptions(
    root
      .command("train")
      .description("train a model on packed documents of real lengths and synthetic text, with any strategy"),
  ).action(async (options: TrainOptions) =>
    options.check
      ? (await import("./commands/check-step.ts")).checkStep(options, context)
      : (await import("./commands/train.ts")).train(options, context),
  );

  const bench = root.command("bench").description("measure a part of the project by itself on this machine");
  bench
    .command("kernels")
    .description(
      "the native kernels against the peak of this processor; every option that takes a list has one or more",
    )
    .option("--isa <list>", "instruction sets: scalar,avx2,avx512,avx512bf16 (default: all this processor has)")
    .option("--dtype <list>", "fp32,bf16 (default: fp32)")
    .option("--head-dim <list>", "elements of one head (default: 64,128)")
    .option("--mask <list>", "inside a document: causal,full (default: causal)")
    .option("--pass <list>", "forward,backward (default: both)")
    .option("--tokens <list>", "single documents of these lengths (default: 512,4096, if no pack or mix is named)")
    .option("--heads <n>", "query heads (default: 1)")
    .option("--kv-heads <n>", "key and value heads; must divide the query heads (default: 1)")
    .option("--mix <list>", "mixes, drawn to fill the pack tokens")
    .option("--pack <list>", "packs, cut to the pack tokens (default: instruct-8, if no lengths or mix are given)")
    .option("--pack-tokens <n>", "how many tokens of every mix and pack (default: 8192)")
    .option("--repeats <n>", "how often each case is sampled (default: 5)")
    .option("--peer <name>", "also time onnxruntime on the same problems (forward, fp32), installed if it is not there")
    .option("--json", "print JSON")
    .action(async (options: BenchKernelsOptions) =>
      (await import("./commands/bench-kernels.ts")).benchKernelsCommand(options, context),
    );

  bench
    .command("compile")
    .description("how long the packs that come with the project, and larger ones, take to compile")
    .option("--pack <list>", "which packs, or mixes drawn for any number of ranks, like hybrid-1024 (default: all 24)")
    .option("--scale", "the mixes of the packs for 128 to 1024 ranks as well")
    .option("--strategy <name>", "which strategy (default: hsap)")
    .option("--repeats <n>", "processes that are started for each pack (default: 3)")
    .option("--figure <path>", "draw the times by ranks and documents as .svg or .png")
    .option("--json", "print JSON")
    .action(async (options: BenchCompileOptions) =>
      (await import("./commands/bench-compile.ts")).benchCompile(options, context),
    );

  bench
    .command("simulate")
    .description("how long compiled schedules take to be simulated, and the memory it takes")
    .option(
      "--pack <list>",
      "which packs, or mixes drawn for any number of ranks, like hybrid-1024 (default: hybrid-64)",
    )
    .option("--strategy <list>", "which strategies (default: all)")
    .option("--pass <pass>", "forward, backward or both (default: forward)")
    .option("--repeats <n>", "processes that are started for each pack and strategy (default: 3)")
    .option("--json", "print JSON")
    .action(async (options: BenchSimulateOptions) =>
      (await import("./commands/bench-simulate.ts")).benchSimulate(options, context),
    );

  addProblemOptions(
    bench
      .command("threads")
      .description("one rank on several threads: its times, and whether its results have the same bits"),
  )
    .option("--threads <list>", "threads per rank; ratios are to the first (default: 1,2)")
    .option("--repeats <n>", "rounds, each with every number of threads once (default: 5)")
    .option("--pin <how>", "auto binds computing threads to cores that are free, none leaves them (default: auto)")
    .addHelpText(
      "after",
      "\nWithout documents: 16384 tokens of the mix hybrid, on 1 rank, with the strategy reference.",
    )
    .action(async (options: BenchThreadsOptions) =>
      (await import("./commands/bench-threads.ts")).benchThreads(options, context),
    );

  addProblemOptions(
    bench
      .command("overlap")
      .description("how much communication runs beside the computation, over links as slow as that"),
  )
    .option("--link <MB/s>", "rate of every link (default: such that communication takes as long as computation)")
    .option("--repeats <n>", "rounds, each with every run once (default: 5)")
    .addHelpText("after", "\nWithout --strategy: ring, zigzag, allgather and hsap; without --ranks: 2.")
    .action(async (options: BenchOverlapOptions) =>
      (await import("./commands/bench-overlap.ts")).benchOverlap(options, context),
    );

  root
    .command("figures")
    .description("draw the paper's figures from results")
    .option("--results <dir>", "trials of the evaluation (default: results/evaluation, or the reference results)")
    .option("--out <dir>", "where the figures go (default: figures beside the trials)")
    .option("--cluster <name>", "the cluster that the topology shows: a preset or a .yaml file (default: h100-400g)")
    .option("--ranks <n>", "how many of its ranks are shown (default: 16)")
    .option("--json", "print JSON")
    .action(async (options: FiguresOptions) => (await import("./commands/figures.ts")).figures(options, context));

  return root;
}
