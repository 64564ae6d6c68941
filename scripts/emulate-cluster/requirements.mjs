import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { ClusterError } from "./cluster-error.mjs";
import { controllerRoot } from "./device-shares.mjs";

const tools = [
  { name: "ip", from: "iproute2" },
  { name: "tc", from: "iproute2" },
  { name: "nsenter", from: "util-linux" },
  { name: "unshare", from: "util-linux" },
  { name: "mount", from: "mount" },
  { name: "mpirun", from: "openmpi-bin" },
];

const slurmTools = [
  { name: "slurmctld", from: "slurm-wlm" },
  { name: "slurmd", from: "slurm-wlm" },
  { name: "sbatch", from: "slurm-wlm" },
  { name: "munged", from: "munge" },
];

/**
 * Why this machine cannot emulate a cluster: a line for each thing that is missing, none if it can.
 *
 * @param {{ slurm: boolean }} wish
 */
export function missing({ slurm }) {
  const lines = [];
  if (process.platform !== "linux") return [`Linux is needed for its namespaces (this is ${process.platform})`];
  if (process.getuid() !== 0) lines.push("root is needed to make namespaces, links and cgroups (run it with sudo)");
  const absent = [...tools, ...(slurm ? slurmTools : [])].filter(({ name }) => programPath(name) === undefined);
  if (absent.length > 0) {
    const packages = [...new Set(absent.map(({ from }) => from))];
    lines.push(`not found: ${absent.map(({ name }) => name).join(", ")} (apt-get install ${packages.join(" ")})`);
  }
  if (lines.length === 0) lines.push(...withoutRights());
  return lines;
}

/** Root inside a container often may not make namespaces, links or cgroups. */
function withoutRights() {
  const lines = [];
  const { status, stderr } = spawnSync("unshare", [
    ...["--net", "--uts", "--ipc", "--mount", "sh", "-c"],
    "ip link add probe0 type veth peer name probe1 && tc qdisc add dev probe0 root tbf rate 1mbit burst 32kb latency 50ms",
  ]);
  if (status !== 0) lines.push(`this root may not make namespaces with capped links (${lastLine(stderr)})`);
  try {
    controllerRoot();
  } catch (error) {
    lines.push(error.message);
  }
  return lines;
}

const lastLine = (output) => String(output).trim().split("\n").at(-1);

/** @throws ClusterError naming all that is missing. */
export function checkRequirements(wish) {
  const lines = missing(wish);
  if (lines.length > 0) throw new ClusterError(lines.join("; "));
}

/** Where `name` is found: daemons of Debian lie in folders that not every PATH names. */
export function programPath(name) {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
}
