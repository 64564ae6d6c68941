import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startTimeOf } from "../process-start.mjs";
import { ClusterError } from "./cluster-error.mjs";
import { addressOf, folderOf, head, namespaceOf, nodeNames } from "./layout.mjs";
import { startDaemon } from "./processes.mjs";

/**
 * Makes host `host` of a cluster: a process that holds its namespaces. Inside, the host has a name of its own and knows those of
 * the others; /dev/shm and the folder for temporary files are its own: Open MPI takes ranks that share one of them for neighbours
 * on one machine.
 * The namespace of processes is shared, so that ids mean the same everywhere.
 *
 * @returns the id of the holding process, whose namespaces are to be entered
 */
export async function makeHost(name, host) {
  const temporary = temporaryFolder(name, host);
  mkdirSync(temporary, { recursive: true });
  rmSync(readyFile(name, host), { force: true });
  const script = [
    `hostname ${namespaceOf(name, host)}`,
    "mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
    `mount -t tmpfs -o mode=1777 tmpfs ${temporary}`,
    `mount --bind ${hostsFile(name)} /etc/hosts`,
    `touch ${readyFile(name, host)}`,
    "exec sleep infinity",
  ].join(" && ");
  const pid = await startDaemon(
    [
      ...["nsenter", `--net=/run/netns/${namespaceOf(name, host)}`],
      ...["unshare", "--uts", "--ipc", "--mount", "--propagation", "private", "sh", "-c", script],
    ],
    { log: path.join(folderOf(name), `${host}.log`) },
  );
  await isReady(pid, name, host);
  return pid;
}

/** Writes the names and addresses of all hosts, which each of them finds as its /etc/hosts. */
export function writeHostsFile({ name, nodes }) {
  const lines = [head, ...nodeNames(nodes)].map((host) => `${addressOf(host)} ${namespaceOf(name, host)}`);
  writeFileSync(hostsFile(name), `${["127.0.0.1 localhost", ...lines].join("\n")}\n`);
}

const hostsFile = (name) => path.join(folderOf(name), "hosts");

/** Where programs of `host` put temporary files. */
export const temporaryFolder = (name, host) => path.join(folderOf(name), "tmp", host);

/** The words that run a command on the host held by process `pid`. Not `ip netns exec`: that hides the cgroups. */
export const entering = (pid) => ["nsenter", "-t", String(pid), "--net", "--uts", "--ipc", "--mount"];

async function isReady(pid, name, host) {
  for (const end = Date.now() + 10_000; Date.now() < end && startTimeOf(pid) !== undefined; await sleep(10)) {
    if (existsSync(readyFile(name, host))) return;
  }
  throw new ClusterError(`${host} did not come up (see ${path.join(folderOf(name), `${host}.log`)})`);
}

const readyFile = (name, host) => path.join(folderOf(name), `${host}.ready`);
