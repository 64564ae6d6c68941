import { writeFileSync } from "node:fs";
import { clusterFileOf, hardwareFileOf, measureMachine } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { wholeNumber } from "../option-values.ts";
import type { CalibrateOptions, CommandContext } from "../program.ts";
import { shortNumber } from "../table.ts";

/** `hsap calibrate`: measures this machine's kernels and copies, and writes them as files that `hsap simulate` reads. */
export async function calibrate(options: CalibrateOptions, { output }: CommandContext): Promise<void> {
  const profile = await measureMachine(wholeNumber("repeats", options.repeats ?? "3"));
  const files = {
    cluster: `${options.out ?? "machine"}.cluster.yaml`,
    hardware: `${options.out ?? "machine"}.hardware.yaml`,
  };
  write(files.cluster, clusterFileOf(profile));
  write(files.hardware, hardwareFileOf(profile));
  if (options.json) {
    output.out(`${JSON.stringify({ origin: "measured", ...profile, files }, null, 2)}\n`);
    return;
  }
  output.out(`# measured on ${profile.device}, kernels ${profile.isa}\n`);
  for (const [pass, { teraflops, overheadTokens, worstError }] of Object.entries(profile.kernels)) {
    const error = `${(100 * worstError).toFixed(1)} % off at worst`;
    output.out(
      `${pass.padEnd(9)} ${shortNumber(1e3 * teraflops)} Gflop/s, a block costs ${overheadTokens} tokens more (${error})\n`,
    );
  }
  output.out(`copies    ${shortNumber(profile.copyGBps)} GB/s, ${shortNumber(profile.latencyUs)} us a message\n`);
  output.out(`hsap simulate --cluster ${files.cluster} --hardware ${files.hardware}\n`);
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
}
