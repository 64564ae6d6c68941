import { type MachineProfile, measureMachine, profileFileOf, quietSpread, threadMachineOf } from "@hsap/bench";
import type { Dtype } from "@hsap/schedule";
import { type OpTermKind, readHardware, type ThreadMachine } from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { interruptible } from "../interruption.ts";
import { launcherOf } from "../launch-options.ts";
import { commaList, oneOf, wholeNumber } from "../option-values.ts";
import type { CalibrateOptions, CommandContext } from "../program.ts";
import { type Progress, startProgress } from "../progress.ts";
import { formatTable } from "../table.ts";
import { writeWholeFiles } from "../whole-files.ts";

/** `hsap calibrate`: measures this machine, and writes what predicts runs on it; with `--check`, compares them with real runs. */
export async function calibrate(options: CalibrateOptions, context: CommandContext): Promise<void> {
  if (launcherOf(options) !== "local")
    return (await import("./calibrate-cluster.ts")).calibrateCluster(options, context);
  refuseStray(options);
  const progress = await startProgress(context.output);
  try {
    const profile = options.hardware === undefined ? await measured(options, progress) : undefined;
    const file = options.out ?? "machine.yaml";
    if (profile !== undefined) writeWholeFiles({ [file]: profileFileOf(profile) });
    if (options.check) {
      const machine = profile === undefined ? machineIn(options.hardware as string) : threadMachineOf(profile);
      await (await import("./calibrate-check.ts")).checkProfile(machine, options, context, progress);
      return;
    }
    if (profile !== undefined) report(profile, file, options, context);
  } finally {
    progress.stop();
  }
}

function refuseStray(options: CalibrateOptions): void {
  const { check, hardware, out, dtype } = options;
  const onlyChecked = (["hardware", "pack", "pass", "ranks"] as const).find((name) => options[name] !== undefined);
  if (!check && onlyChecked !== undefined) {
    throw new InputError(`invalid ${onlyChecked}: ${options[onlyChecked]} (only --check takes it)`);
  }
  const given = out ?? dtype;
  if (hardware !== undefined && given !== undefined) {
    throw new InputError(
      `conflicting options: --hardware and --${out === undefined ? "dtype" : "out"} (nothing is measured anew)`,
    );
  }
}

async function measured(options: CalibrateOptions, progress: Progress): Promise<MachineProfile> {
  return interruptible(
    () => "interrupted: no profile is written; start it again",
    (signal) =>
      measureMachine({
        repeats: wholeNumber("repeats", options.repeats ?? "5"),
        dtypes: commaList(options.dtype ?? "fp32").map((type): Dtype => oneOf("dtype", type, ["fp32", "bf16"])),
        signal,
        onProgress: progress.update,
      }),
  );
}

function machineIn(file: string): ThreadMachine {
  const { threads } = readHardware(file);
  if (threads === undefined) throw new InputError(`no threads in ${file} (measure them: hsap calibrate)`);
  return threads;
}

function report(profile: MachineProfile, file: string, { json }: CalibrateOptions, { output }: CommandContext): void {
  if (json) {
    output.out(`${JSON.stringify({ origin: "measured", file, ...profile }, null, 2)}\n`);
    return;
  }
  const { device, isa, cores, wakeUs, sliceUs, terms, spread } = profile;
  output.out(`# origin: measured; ${device}, ${cores} cores, ${isa} kernels\n`);
  output.out(
    `# a sleeping thread wakes in ${wakeUs.toFixed(0)} us, and runs ${sliceUs.toFixed(0)} us while others wait\n`,
  );
  const rows = Object.entries(terms).flatMap(([dtype, kinds]) =>
    (Object.keys(kinds) as OpTermKind[]).map((kind) => ({ dtype, kind, ...kinds[kind] })),
  );
  const percent = (share: number) => (100 * share).toFixed(1);
  output.out(
    formatTable(
      [
        { title: "op", align: "left", value: ({ kind }) => kind },
        { title: "dtype", align: "left", value: ({ dtype }) => dtype },
        { title: "samples", value: ({ samples }) => `${samples.length}` },
        { title: "error", unit: "median %", value: ({ medianError }) => percent(medianError) },
        { title: "error", unit: "worst %", value: ({ worstError }) => percent(worstError) },
        { title: "spread", unit: "%", value: (row) => percent(row.spread) },
        { title: "terms", unit: "ns", align: "left", value: ({ ns }) => termsText(ns) },
      ],
      rows,
    ),
  );
  if (spread > quietSpread) {
    output.out(
      `# noisy: kernels differ by ${percent(spread)} % from run to run; measure again with nothing else running\n`,
    );
  }
  output.out(`# wrote ${file}: hsap simulate --hardware ${file}, hsap calibrate --check --hardware ${file}\n`);
}

const termsText = (ns: Readonly<Record<string, number>>): string =>
  Object.entries(ns)
    .map(([term, value]) => `${term}=${Number(value.toPrecision(3))}`)
    .join(" ");
