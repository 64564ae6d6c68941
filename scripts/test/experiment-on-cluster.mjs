import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { folderOf, head, namespaceOf, nodeNames } from "../emulate-cluster/layout.mjs";
import { processesIn } from "../emulate-cluster/network.mjs";
import { missing } from "../emulate-cluster/requirements.mjs";
import { startTimeOf } from "../process-start.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const script = path.join(root, "scripts/emulate-cluster.mjs");
const bin = path.join(root, "packages/cli/bin/hsap.js");

/** Why experiments cannot run on an emulated cluster here; none if they can. */
export function whyNoExperiments({ slurm }) {
  const lines = missing({ slurm });
  for (const [file, what] of [
    ["packages/cli/dist/main.js", "the command is not built (run npm run setup)"],
    ["native/build/hsap_mpi.so", "the mpi transport is not built (install an MPI, then run npm run setup)"],
  ]) {
    if (!existsSync(path.join(root, file))) lines.push(what);
  }
  return lines;
}

/** A cluster of 2 nodes, brought up for the tests of one file. */
export class TestCluster {
  #idle = [];

  constructor(name, devices = 4) {
    this.name = name;
    this.devices = devices;
  }

  async up(...options) {
    const { status, stderr } = this.command("up", "--devices", `${this.devices}`, ...options);
    if (status !== 0) throw new Error(stderr);
    this.#idle = await this.#processes();
  }

  down() {
    this.command("down");
  }

  /** Runs a command of scripts/emulate-cluster.mjs on this cluster to its end. */
  command(name, ...words) {
    return spawnSync(process.execPath, [script, name, "--name", this.name, ...words], {
      encoding: "utf8",
      timeout: 120_000,
    });
  }

  /** Runs a command on a host to its end. */
  enter(host, ...words) {
    return spawnSync(path.join(folderOf(this.name), "enter"), [host, ...words], {
      encoding: "utf8",
      env: this.environment(),
      timeout: 240_000,
    });
  }

  /** Runs the cluster's mpirun to its end. */
  mpirun(words, variables = {}) {
    return spawnSync("mpirun", words, { encoding: "utf8", timeout: 140_000, env: this.environment(variables) });
  }

  /** What makes jobs run with MPICH, by the transport that was built for it. */
  mpich(library) {
    return { PATH: `${path.join(folderOf(this.name), "mpich")}:${process.env.PATH}`, HSAP_MPI_LIBRARY: library };
  }

  hostOf(rank) {
    return namespaceOf(this.name, rank < this.devices ? "node0" : "node1");
  }

  /** What a user of this cluster has in the environment. */
  environment(variables = {}) {
    return { ...process.env, PATH: `${folderOf(this.name)}:${process.env.PATH}`, ...variables };
  }

  /** Starts `hsap WORDS...` as a user does. */
  hsap(words, variables = {}) {
    return this.#start([process.execPath, bin, ...words], variables);
  }

  /** The same on a host of the cluster, where srun is at home. */
  hsapOn(host, words, variables = {}) {
    return this.#start([path.join(folderOf(this.name), "enter"), host, process.execPath, bin, ...words], variables);
  }

  #start([program, ...words], variables) {
    const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], env: this.environment(variables) });
    let [out, err] = ["", ""];
    child.stdout.on("data", (text) => {
      out += text;
    });
    child.stderr.on("data", (text) => {
      err += text;
    });
    const ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (exitCode, signal) => resolve({ exitCode, signal, out, err }));
    });
    return { child, ended };
  }

  /** The process of a rank, by the variable that its launcher sets. */
  async rankProcess(rank, variable = "OMPI_COMM_WORLD_RANK") {
    for (const pid of await processesIn(this.hostOf(rank))) {
      if (wordsOf(pid, "cmdline")[1] === bin && wordsOf(pid, "environ").includes(`${variable}=${rank}`)) {
        return pid;
      }
    }
    throw new Error(`rank ${rank} does not run`);
  }

  /** Waits until jobs have left nothing on any host; returns the command lines of what is still there after `patienceMs`. */
  async leftovers(patienceMs) {
    const left = async () => (await this.#processes()).filter((pid) => !this.#idle.includes(pid));
    for (const end = Date.now() + patienceMs; (await left()).length > 0 && Date.now() < end; ) await sleep(100);
    return (await left()).map((pid) => wordsOf(pid, "cmdline").join(" "));
  }

  async #processes() {
    const hosts = [head, ...nodeNames(2)].map((host) => processesIn(namespaceOf(this.name, host)));
    return (await Promise.all(hosts)).flat().filter((pid) => startTimeOf(pid) !== undefined);
  }
}

function wordsOf(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0");
  } catch {
    return [];
  }
}
