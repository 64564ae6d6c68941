import { execFileSync, spawnSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { probeMpi } from "@hsap/bench";
import { chosenIsa, engineInfo, kernelIsas, productsOf } from "@hsap/engine";
import { exitCodes } from "../exit-codes.ts";
import type { CommandContext } from "../program.ts";

interface Finding {
  readonly name: string;
  readonly found: string | null;
  /** Nothing works without it. */
  readonly needed: boolean;
  /** What it is for, or how to get it. */
  readonly remedy: string;
}

/** `hsap doctor`: what this machine has, what is missing, and the remedy. */
export async function doctor(
  { json }: { readonly json?: boolean },
  { output, version, finish }: CommandContext,
): Promise<void> {
  const findings = [...needs(), ...engine(), ...extras()];
  const broken = findings.filter(({ needed, found }) => needed && found === null);
  const machine = {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
  if (json) output.out(`${JSON.stringify({ version, machine, findings, ok: broken.length === 0 }, null, 2)}\n`);
  else {
    output.out(`# hsap ${version}\n# ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB\n`);
    const width = Math.max(...findings.map(({ name }) => name.length));
    for (const { name, found, needed, remedy } of findings) {
      const state = found ?? `${needed ? "MISSING" : "not found"} (${remedy})`;
      output.out(`${name.padEnd(width)}  ${state}\n`);
    }
    output.out(`# verdict: ${broken.length === 0 ? "ok" : `missing ${broken.map(({ name }) => name).join(", ")}`}\n`);
  }
  if (broken.length > 0) finish(exitCodes.failed);
}

function needs(): Finding[] {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const fits = major > 20 || (major === 20 && minor >= 19);
  return [
    {
      name: "node",
      found: fits ? process.version : null,
      needed: true,
      remedy: `${process.version} is too old: install Node 20.19 or newer`,
    },
    { name: "c++ compiler", found: firstLineOf("c++", "--version"), needed: true, remedy: "apt-get install g++" },
    { name: "cmake", found: firstLineOf("cmake", "--version"), needed: true, remedy: "apt-get install cmake" },
  ];
}

function engine(): Finding[] {
  try {
    const { compiler, isa } = engineInfo();
    const products = (["fp32", "bf16"] as const).map((dtype) => productsOf(dtype, chosenIsa(dtype)));
    return [
      { name: "native engine", found: `built by ${compiler}`, needed: true, remedy: "" },
      { name: "kernels", found: `${kernelIsas().join(", ")} (chosen: ${isa})`, needed: true, remedy: "" },
      { name: "matrix products", found: products.join("; "), needed: true, remedy: "" },
    ];
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0];
    return [{ name: "native engine", found: null, needed: true, remedy: `${reason}; run npm run setup` }];
  }
}

/** Found or not, nothing here is needed: it is what later transports and tools would use. */
function extras(): Finding[] {
  return [
    { name: "mpi", found: mpi(), needed: false, remedy: mpiRemedy },
    mpiTransport(),
    { name: "slurm", found: slurm(), needed: false, remedy: "runs on a cluster that has it" },
    { name: "libnuma", found: library("libnuma.so"), needed: false, remedy: "apt-get install libnuma-dev" },
    {
      name: "cuda",
      found: firstLineOf("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
      needed: false,
      remedy: "no NVIDIA device here",
    },
    { name: "nccl", found: library("libnccl.so"), needed: false, remedy: "comes with CUDA clusters" },
  ];
}

/** Open MPI says its name and version in the first line, MPICH in the next. */
function mpi(): string | null {
  const text = outputOf("mpirun", "--version");
  const hydra = /^HYDRA.*\n\s*Version:\s+(\S+)/.exec(text ?? "");
  return hydra === null ? (text?.split("\n")[0].trim() ?? null) : `mpirun of MPICH (Hydra) ${hydra[1]}`;
}

/** Slurm's commands do not even say their version where they find no cluster. */
function slurm(): string | null {
  const version = firstLineOf("srun", "--version");
  if (version !== null) return version;
  const { error } = spawnSync("srun", ["--version"], { stdio: "ignore" });
  return error === undefined ? "srun is there, but finds no cluster" : null;
}

const mpiRemedy = "apt-get install openmpi-bin libopenmpi-dev";

/** Starts two ranks, as an experiment with `--launcher mpirun` would. */
function mpiTransport(): Finding {
  const name = "mpi transport";
  try {
    const { library, standard, threadLevel, sharesMemory } = probeMpi();
    const memory = sharesMemory ? "ranks of a node share memory" : "ranks of a node do not share memory";
    const found = `${library} (MPI ${standard}, threads ${threadLevel}): transfers, allgatherv, alltoallv; ${memory}`;
    return { name, found, needed: false, remedy: "" };
  } catch (error) {
    return { name, found: null, needed: false, remedy: (error as Error).message.split("\n")[0] };
  }
}

function library(name: string): string | null {
  const lines = outputOf("ldconfig", "-p")?.split("\n") ?? [];
  return lines.find((line) => line.trim().startsWith(name))?.split("=> ")[1] ?? null;
}

function firstLineOf(command: string, ...args: string[]): string | null {
  const text = outputOf(command, ...args);
  return text === null ? null : text.split("\n")[0].trim();
}

function outputOf(command: string, ...args: string[]): string | null {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return null;
  }
}
