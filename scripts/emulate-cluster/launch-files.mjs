import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { entering, temporaryFolder } from "./hosts.mjs";
import { addressOf, folderOf, head, namespaceOf, nodeNames, subnet } from "./layout.mjs";
import { programPath } from "./requirements.mjs";

/**
 * Writes the programs by which a cluster is used: `enter HOST COMMAND...`, the agent by which mpirun reaches a node, and
 * `mpirun`, which starts from the head and knows nodes, links and devices, so that it takes only `-n RANKS PROGRAM...`.
 *
 * @param {import("./layout.mjs").ClusterWish} wish
 * @param {Map<string, number>} holders process that holds each host
 * @param {Record<string, string>} variables of the environment on all hosts
 * @param {string | undefined} cgroup file by which processes on all hosts join the cgroup of the cluster
 */
export function writeLaunchFiles(wish, holders, variables, cgroup) {
  const { name, nodes, devices } = wish;
  const folder = folderOf(name);
  const cases = [...holders].map(([host, pid]) => {
    const enter = [`TMPDIR=${temporaryFolder(name, host)}`, ...entering(pid)].join(" ");
    return `  ${host} | ${namespaceOf(name, host)} | ${addressOf(host)}) exec env ${enter} --wdns="$PWD" "$@" ;;`;
  });
  const known = [...holders.keys()].join(", ");
  writeProgram(folder, "enter", [
    "# Runs a command on a host: enter HOST COMMAND...",
    "host=$1",
    "shift",
    ...Object.entries(variables).map(([variable, value]) => `export ${variable}='${value}'`),
    ...(cgroup === undefined ? [] : [`echo $$ > ${cgroup} || exit`]),
    'case "$host" in',
    ...cases,
    "esac",
    `echo "unknown host: $host (must be one of ${known})" >&2`,
    "exit 2",
  ]);
  writeProgram(folder, "agent", [
    "# Runs a command line on a host as a remote shell would: agent HOST COMMAND LINE...",
    "host=$1",
    "shift",
    `exec ${path.join(folder, "enter")} "$host" sh -c "$*"`,
  ]);
  const hosts = nodeNames(nodes)
    .map((node) => `${namespaceOf(name, node)}:${devices}`)
    .join(",");
  writeProgram(folder, "mpirun", [
    `# Runs a program on the ${nodes} nodes of the emulated cluster ${name}: mpirun -n RANKS PROGRAM...`,
    `exec ${path.join(folder, "enter")} ${head} ${programPath("mpirun")} \\`,
    "  --allow-run-as-root --oversubscribe --bind-to none --map-by slot \\",
    `  --host ${hosts} --mca plm_rsh_agent ${path.join(folder, "agent")} \\`,
    `  --mca btl tcp,vader,self --mca pml ob1 --mca btl_tcp_if_include ${subnet} --mca oob_tcp_if_include ${subnet} \\`,
    `  ${Object.keys(variables)
      .map((variable) => `-x ${variable} `)
      .join("")}"$@"`,
  ]);
  if (programPath(hydra) !== undefined) writeHydra(wish, hosts, variables);
}

/** The launcher of MPICH. */
const hydra = "mpiexec.hydra";

/** The same for MPICH, in a folder of its own: `mpich/mpirun`. */
function writeHydra({ name, nodes }, hosts, variables) {
  const folder = folderOf(name);
  mkdirSync(path.join(folder, "mpich"), { recursive: true });
  // Processes of all hosts see each other's ids, so that UCX would copy between nodes by the kernel, past the link.
  const given = { ...variables, UCX_TLS: "tcp,self", UCX_NET_DEVICES: "eth0" };
  writeProgram(path.join(folder, "mpich"), "mpirun", [
    `# Runs a program on the ${nodes} nodes of the emulated cluster ${name} with MPICH: mpirun -n RANKS PROGRAM...`,
    // Ranks are to have the folder for temporary files of their own host.
    `exec ${path.join(folder, "enter")} ${head} env -u TMPDIR ${programPath(hydra)} \\`,
    `  -launcher rsh -launcher-exec ${path.join(folder, "agent")} -hosts ${hosts} \\`,
    `  ${Object.entries(given)
      .map(([variable, value]) => `-genv ${variable} '${value}' `)
      .join("")}"$@"`,
  ]);
}

function writeProgram(folder, name, lines) {
  const file = path.join(folder, name);
  writeFileSync(file, `${["#!/bin/sh", ...lines].join("\n")}\n`);
  chmodSync(file, 0o755);
}
