import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ClusterError } from "./cluster-error.mjs";
import { entering, temporaryFolder } from "./hosts.mjs";
import { folderOf, head, headAddress, namespaceOf, nodeAddress, nodeNames } from "./layout.mjs";
import { startDaemon } from "./processes.mjs";
import { programPath } from "./requirements.mjs";
import { command } from "./shell.mjs";

/**
 * Starts a real Slurm on the hosts: munge, the controller on the head and a daemon on each node, with files of its own, so
 * that it does not meet a Slurm of the machine.
 *
 * @param {import("./layout.mjs").ClusterWish} wish
 * @param {Map<string, number>} holders process that holds each host
 * @param {string | undefined} cgroup file by which processes on all hosts join the cgroup of the cluster
 */
export async function startSlurm(wish, holders, cgroup) {
  const { name, nodes } = wish;
  const folder = path.join(folderOf(name), "slurm");
  mkdirSync(path.join(folder, "state"), { recursive: true });
  writeFileSync(path.join(folder, "munge.key"), randomBytes(128), { mode: 0o400 });
  writeFileSync(path.join(folder, "slurm.conf"), slurmConf(wish, folder));
  writeFileSync(path.join(folder, "cgroup.conf"), cgroupConf());
  // PMIx must not find the folder of another node.
  writeFileSync(path.join(folder, "mpi.conf"), "PMIxCliTmpDirBase=/dev/shm\n");
  const env = { ...process.env, ...slurmVariables(name) };
  const joining = cgroup === undefined ? [] : ["sh", "-c", 'echo $$ > "$0" && exec "$@"', cgroup];
  const start = (host, program, ...options) =>
    startDaemon([...joining, ...entering(holders.get(host)), programPath(program), ...options], {
      log: path.join(folder, `${program}-${host}.log`),
      env: { ...env, TMPDIR: temporaryFolder(name, host) },
    });
  const file = (end) => path.join(folder, `munge.${end}`);
  await start(
    ...[head, "munged", "--foreground", "--force", "--num-threads=2"],
    ...[`--key-file=${file("key")}`, `--socket=${file("socket")}`, `--pid-file=${file("pid")}`],
    ...[`--log-file=${file("log")}`, `--seed-file=${file("seed")}`],
  );
  await start(head, "slurmctld", "-D");
  for (const node of nodeNames(nodes)) await start(node, "slurmd", "-D", "-N", namespaceOf(name, node));
  await nodesIdle(wish, holders.get(head), env, folder);
}

/** What a program needs in its environment to find this Slurm and no other. */
export const slurmVariables = (name) => ({ SLURM_CONF: path.join(folderOf(name), "slurm", "slurm.conf") });

function slurmConf({ name, nodes, devices }, folder) {
  const nodeLines = nodeNames(nodes).map(
    (node, index) => `NodeName=${namespaceOf(name, node)} NodeAddr=${nodeAddress(index)} CPUs=${devices} State=UNKNOWN`,
  );
  return `${[
    `ClusterName=${name}`,
    `SlurmctldHost=${namespaceOf(name, head)}(${headAddress})`,
    "SlurmUser=root",
    "SlurmdUser=root",
    "AuthType=auth/munge",
    `AuthInfo=socket=${path.join(folder, "munge.socket")}`,
    "CredType=cred/munge",
    `StateSaveLocation=${path.join(folder, "state")}`,
    `SlurmdSpoolDir=${path.join(folder, "spool-%n")}`,
    `SlurmctldPidFile=${path.join(folder, "slurmctld.pid")}`,
    `SlurmdPidFile=${path.join(folder, "slurmd-%n.pid")}`,
    "ProctrackType=proctrack/linuxproc",
    "TaskPlugin=task/none",
    "JobAcctGatherType=jobacct_gather/none",
    "SwitchType=switch/none",
    "MpiDefault=pmix",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_CPU",
    // A node has as many processors as it has devices, whatever the machine below has.
    "SlurmdParameters=config_overrides",
    "ReturnToService=2",
    "SlurmctldTimeout=30",
    "SlurmdTimeout=30",
    "KillWait=5",
    ...nodeLines,
    `PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4`,
  ].join("\n")}\n`;
}

/** Slurm limits nothing by cgroups here, but wants to know their version. */
function cgroupConf() {
  const firstVersion = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[2] === "cgroup");
  return firstVersion ? "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n" : "CgroupPlugin=autodetect\nIgnoreSystemd=yes\n";
}

async function nodesIdle({ nodes }, holder, env, folder) {
  let states = "the controller does not answer";
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(200)) {
    states = await command(
      ...["env", `SLURM_CONF=${env.SLURM_CONF}`, ...entering(holder), programPath("sinfo")],
      ...["--noheader", "--Node", "--format=%T"],
    ).catch((error) => error.message);
    if (
      states
        .trim()
        .split(/\s+/)
        .filter((state) => state === "idle").length === nodes
    )
      return;
  }
  throw new ClusterError(`slurm did not come up (${states.trim().replaceAll("\n", ", ")}; its logs are in ${folder})`);
}
