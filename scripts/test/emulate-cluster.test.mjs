import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { controllerRoot } from "../emulate-cluster/device-shares.mjs";
import { missing } from "../emulate-cluster/requirements.mjs";

const script = fileURLToPath(new URL("../emulate-cluster.mjs", import.meta.url));

// Of this process alone, so that tests in two checkouts do not meet.
const name = `t${process.pid}`;
const folder = `/run/hsap-cluster/${name}`;

const cluster = (command, ...words) =>
  spawnSync(process.execPath, [script, command, ...words], { encoding: "utf8", timeout: 60_000 });
const inCluster = (command, ...words) => cluster(command, "--name", name, ...words);

describe("a cluster that cannot be", () => {
  it.for([
    [["fly"], "unknown command: fly (must be one of up, down, status, link, enter, run)"],
    [["up", "--nodes", "0"], "invalid nodes: 0 (must be from 1 to 250)"],
    [["up", "--devices", "2.5"], "invalid devices: 2.5 (must be a whole number)"],
    [["up", "--bandwidth-mbit", "much"], "invalid bandwidth-mbit: much (must be from 1 to 100000)"],
    [["up", "--name", "../x"], "invalid name: ../x (must be up to 12 small letters and digits, a letter first)"],
    [["status", "--name", "nobody"], "there is no cluster nobody (bring it up first)"],
    [["run"], "no command given (run [OPTIONS] COMMAND...)"],
  ])("is refused in one line: %s", ([words, message]) => {
    const { status, stderr } = cluster(...words);
    expect(stderr).toBe(`cluster: ${message}\n`);
    expect(status).toBe(1);
  });
});

describe("an emulated cluster", () => {
  const lacking = missing({ slurm: false });

  beforeEach(({ skip }) => {
    if (lacking.length > 0) skip(lacking.join("; "));
  });
  afterEach(() => {
    if (lacking.length === 0) inCluster("down");
  });

  it("runs MPI programs on nodes that have their own names, and counts the bytes between them", () => {
    expect(inCluster("up", "--devices", "2").status).toBe(0);
    const hosts = spawnSync(`${folder}/mpirun`, ["-n", "4", "hostname"], { encoding: "utf8" });
    expect(hosts.stderr).toBe("");
    expect(hosts.stdout.trim().split("\n").sort()).toEqual([0, 0, 1, 1].map((node) => `${name}-node${node}`));
    const { hosts: links } = JSON.parse(inCluster("status").stdout);
    expect(links.map(({ node }) => node)).toEqual(["node0", "node1"]);
    for (const { link } of links) expect(link.received).toBeGreaterThan(0);
  });

  it("keeps each node's shared memory to itself", () => {
    inCluster("up");
    inCluster("enter", "node0", "touch", "/dev/shm/mine");
    expect(inCluster("enter", "node0", "ls", "/dev/shm").stdout).toBe("mine\n");
    expect(inCluster("enter", "node1", "ls", "/dev/shm").stdout).toBe("");
    expect(existsSync("/dev/shm/mine")).toBe(false);
  });

  it("holds a thread that joins a device to its share of a core", () => {
    inCluster("up", "--devices", "1", "--device-share", "0.1");
    const busy = `echo 0 > $(echo $HSAP_COMPUTE_CGROUP | sed "s/%h/$(hostname)/; s/%r/0/")
      end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done; cat /proc/$$/stat`;
    const fields = inCluster("enter", "node1", "sh", "-c", busy).stdout.split(" ");
    // User and system time in ticks of 10 ms, of the shell and the programs it started: a tenth of two seconds, and a period.
    const ticks = fields.slice(13, 17).reduce((sum, field) => sum + Number(field), 0);
    expect(ticks).toBeGreaterThan(0);
    expect(ticks).toBeLessThan(40);
  });

  it("cuts a node's link and joins it again", () => {
    inCluster("up");
    // Nothing listens there: a node that can be reached says so.
    const answer = () =>
      inCluster("enter", "node0", "timeout", "1", "bash", "-c", "true < /dev/tcp/10.77.0.2/9").stderr.match(
        /refused/,
      )?.[0];
    expect(answer()).toBe("refused");
    inCluster("link", "node1", "down");
    expect(answer()).toBeUndefined();
    inCluster("link", "node1", "up");
    expect(answer()).toBe("refused");
  });

  it("is refused twice under one name", () => {
    inCluster("up");
    expect(inCluster("up").stderr).toBe(
      `cluster: cluster ${name} is there already (take it down, or choose another --name)\n`,
    );
    expect(inCluster("enter", "node0", "hostname").stdout).toBe(`${name}-node0\n`);
  });

  it("ends with the exit code of the command that it was brought up for, and leaves nothing behind", () => {
    const { status } = inCluster("run", "--devices", "1", "sh", "-c", "hostname; sleep 1000 & exit 7");
    expect(status).toBe(7);
    expect(left()).toEqual([]);
  });

  it("leaves nothing behind when it is interrupted", async () => {
    const child = spawn(process.execPath, [script, "run", "--name", name, "sleep", "1000"], { stdio: "ignore" });
    const ending = new Promise((resolve) => child.once("exit", resolve));
    for (const end = Date.now() + 20_000; !existsSync(`${folder}/mpirun`) && Date.now() < end; ) await sleep(20);
    child.kill("SIGTERM");
    expect(await ending).toBe(143);
    expect(left()).toEqual([]);
  });

  it("is taken down whole after its maker was killed", async () => {
    const child = spawn(process.execPath, [script, "run", "--name", name, "sleep", "1000"], { stdio: "ignore" });
    for (const end = Date.now() + 20_000; !existsSync(`${folder}/node0.ready`) && Date.now() < end; ) await sleep(20);
    child.kill("SIGKILL");
    expect(left()).not.toEqual([]);
    expect(inCluster("down").status).toBe(0);
    expect(left()).toEqual([]);
  });
});

describe("Slurm on an emulated cluster", () => {
  const lacking = missing({ slurm: true });

  beforeEach(({ skip }) => {
    if (lacking.length > 0) skip(lacking.join("; "));
  });
  afterEach(() => {
    if (lacking.length === 0) inCluster("down");
  });

  it("starts tasks on every node", () => {
    const { stdout, status, stderr } = inCluster(
      "run",
      "--slurm",
      "srun",
      "--nodes=2",
      "--ntasks-per-node=2",
      "hostname",
    );
    expect(stderr).not.toContain("error");
    expect(status).toBe(0);
    expect(stdout.trim().split("\n").sort()).toEqual([0, 0, 1, 1].map((node) => `${name}-node${node}`));
    expect(left()).toEqual([]);
  });
});

/** What of the cluster is still on the machine. */
function left() {
  const namespaces = spawnSync("ip", ["netns", "list"], { encoding: "utf8" }).stdout;
  const processes = readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => isHolding(pid));
  return [
    ...namespaces.split("\n").filter((line) => line.startsWith(`${name}-`)),
    ...processes,
    ...[folder, path.join(controllerRoot().root, `hsap-${name}`)].filter((place) => existsSync(place)),
  ];
}

function isHolding(pid) {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, "utf8").includes(`${folder}/`);
  } catch {
    return false;
  }
}
