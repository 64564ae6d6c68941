import { resolve } from "node:path";
import {
  asRank,
  type ClusterProfile,
  clusterFileOf,
  clusterHardwareOf,
  type LedJob,
  measureCluster,
  misplacement,
  rankPlaceOf,
} from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { interruptible } from "../interruption.ts";
import { launcherOf, launchRanks, ranksOfNodes } from "../launch-options.ts";
import { wholeNumber } from "../option-values.ts";
import type { CalibrateOptions, CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { formatTable, shortNumber } from "../table.ts";
import { writeWholeFiles } from "../whole-files.ts";

/** `hsap calibrate --launcher`: ranks that are processes measure the links between them, and a cluster file is written. */
export async function calibrateCluster(options: CalibrateOptions, context: CommandContext): Promise<void> {
  if (options.check || options.hardware !== undefined || options.dtype !== undefined) {
    throw new InputError("conflicting options: --launcher and --check, --hardware or --dtype (it measures links)");
  }
  const ranksPerNode = wholeNumber("ranks-per-node", options.ranksPerNode ?? "4");
  const repeats = wholeNumber("repeats", options.repeats ?? "5");
  const file = resolve(options.out ?? "cluster.yaml");
  if (launcherOf(options) !== "started") {
    const ranks = ranksOfNodes(options, ranksPerNode) ?? wholeNumber("ranks", options.ranks ?? "8");
    const own = ["--ranks", `${ranks}`, "--ranks-per-node", `${ranksPerNode}`];
    return launchRanks(options, ranks, own, context);
  }
  const { output } = context;
  const progress = await startProgress(output);
  try {
    const follows = rankPlaceOf(process.env)?.rank !== 0;
    const kept = () => (follows ? "" : "interrupted: no profile is written; start it again");
    const measure = async (led: LedJob, signal: AbortSignal): Promise<ClusterProfile> => {
      const odd = misplacement(led.job, ranksPerNode);
      if (odd !== undefined) progress.note(`note: ${odd}`);
      return measureCluster(led, { ranksPerNode, repeats, signal, onProgress: progress.update });
    };
    const profile = await interruptible(kept, (signal) => asRank((led) => measure(led, signal), signal));
    if (profile === undefined) return;
    const hardwareFile = file.replace(/(\.ya?ml)?$/, "-hardware.yaml");
    writeWholeFiles({ [file]: clusterFileOf(profile), [hardwareFile]: clusterHardwareOf(profile) });
    report(profile, { file, hardwareFile }, options, context);
  } finally {
    progress.stop();
  }
}

interface Files {
  readonly file: string;
  readonly hardwareFile: string;
}

function report(profile: ClusterProfile, files: Files, { json }: CalibrateOptions, { output }: CommandContext): void {
  const { file, hardwareFile } = files;
  if (json) {
    output.out(`${JSON.stringify({ origin: "measured", file, hardwareFile, ...profile }, null, 2)}\n`);
    return;
  }
  const { device, library, nodes, ranksPerNode, teraflops, rankTeraflops, slowdown } = profile;
  output.out(`# origin: measured; ${nodes} x ${ranksPerNode} ranks over ${library}, ${device}\n`);
  const rows = (["node", "network"] as const).flatMap((name) =>
    (profile[name]?.messages ?? []).map((message) => ({ name, ...message })),
  );
  output.out(
    formatTable(
      [
        { title: "link", align: "left", value: ({ name }) => name },
        { title: "message", unit: "B", value: ({ bytes }) => shortNumber(bytes) },
        { title: "time", unit: "us", value: ({ us }) => shortNumber(us) },
        { title: "rate", unit: "GB/s", value: ({ bytes, us }) => shortNumber(bytes / us / 1e3) },
      ],
      rows,
    ),
  );
  for (const name of ["node", "network"] as const) {
    const link = profile[name];
    if (link === undefined) continue;
    const { bandwidthGBps, latencyUs, aloneGBps } = link;
    output.out(
      `# ${name}: ${shortNumber(bandwidthGBps)} GB/s for each rank, ${shortNumber(aloneGBps)} for one of a node alone, ${shortNumber(latencyUs)} us; all beside computation\n`,
    );
  }
  const { forward, backward } = teraflops;
  output.out(`# a rank: ${shortNumber(1e3 * forward)} Gflop/s forward, ${shortNumber(1e3 * backward)} backward\n`);
  const each = rankTeraflops.map((rate) => shortNumber(1e3 * rate)).join(" ");
  output.out(`# each rank, forward: ${each} Gflop/s\n`);
  const { forward: slower, backward: slowerBackward } = slowdown;
  output.out(
    `# ${shortNumber(slower)} times the time of a core of this machine by its profile forward, ${shortNumber(slowerBackward)} backward\n`,
  );
  output.out(`# wrote ${file} and ${hardwareFile}: hsap simulate --cluster ${file} --hardware ${hardwareFile},\n`);
  output.out(`#   hsap experiment --cluster ${file} --hardware ${hardwareFile} --launcher ...\n`);
}
