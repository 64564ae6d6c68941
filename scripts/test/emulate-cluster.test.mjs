import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { controllerRoot, makeDeviceShares } from "../emulate-cluster/device-shares.mjs";
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
    [["down", "nobody"], "unexpected word: nobody (this command takes options only)"],
    [["link", "node1", "down", "--name", "nobody"], "there is no cluster nobody (bring it up first)"],
    [["run"], "no command given (run [OPTIONS] COMMAND...)"],
  ])("is refused in one line: %s", ([words, message]) => {
    const { status, stderr } = cluster(...words);
    expect(stderr).toBe(`cluster: ${message}\n`);
    expect(status).toBe(1);
  });
});

describe("the cgroups of devices", () => {
  const wish = { name: "c", nodes: 2, devices: 2, share: 0.25 };
  let root;

  beforeEach(() => {
    root = mkdtempSync(path.join(os.tmpdir(), "hsap-cgroups-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  /** What was written into a plain folder, by path; the order of making is that of the journal. */
  function made(version) {
    const noted = [];
    const shares = makeDeviceShares({ note: ({ folder }) => noted.push(folder) }, wish, { root, version });
    const files = readdirSync(root, { recursive: true }).filter((file) => statSync(path.join(root, file)).isFile());
    const content = Object.fromEntries(files.map((file) => [file, readFileSync(path.join(root, file), "utf8")]));
    return { noted: noted.map((folder) => path.relative(root, folder)), content, shares };
  }

  it("limit each by a quota in version 1, which single threads join", () => {
    const { noted, content, shares } = made(1);
    expect(noted.slice(0, 3)).toEqual(["hsap-c", "hsap-c/c-node0", "hsap-c/c-node0/device0"]);
    expect(content["hsap-c/c-node1/device1/cpu.cfs_quota_us"]).toBe("2500");
    expect(content["hsap-c/c-node1/device1/cpu.cfs_period_us"]).toBe("10000");
    expect(shares).toEqual({ threads: `${root}/hsap-c/%h/device%r/tasks`, processes: undefined });
  });

  it("are threaded ones below that of all processes in version 2, and the controller is handed on to each", () => {
    const { noted, content, shares } = made(2);
    expect(noted.length).toBe(7);
    expect(content["hsap-c/cgroup.subtree_control"]).toBe("+cpu");
    expect(content["hsap-c/cgroup.type"]).toBeUndefined();
    expect(content["hsap-c/c-node0/cgroup.type"]).toBe("threaded");
    expect(content["hsap-c/c-node0/cgroup.subtree_control"]).toBe("+cpu");
    expect(content["hsap-c/c-node0/device1/cgroup.type"]).toBe("threaded");
    expect(content["hsap-c/c-node0/device1/cpu.max"]).toBe("2500 10000");
    expect(shares).toEqual({
      threads: `${root}/hsap-c/%h/device%r/cgroup.threads`,
      processes: `${root}/hsap-c/cgroup.procs`,
    });
  });
});

describe("an emulated cluster that is up", () => {
  const lacking = missing({ slurm: false });

  beforeAll(() => {
    if (lacking.length === 0) expect(inCluster("up", "--devices", "2", "--device-share", "0.1").status).toBe(0);
  }, 60_000);
  beforeEach(({ skip }) => {
    if (lacking.length > 0) skip(lacking.join("; "));
  });
  afterAll(() => {
    if (lacking.length === 0) inCluster("down");
  }, 60_000);

  it("runs MPI programs on nodes that have their own names, and counts the bytes between them", () => {
    const hosts = spawnSync(`${folder}/mpirun`, ["-n", "4", "hostname"], { encoding: "utf8" });
    expect(hosts.stderr).toBe("");
    expect(hosts.stdout.trim().split("\n").sort()).toEqual([0, 0, 1, 1].map((node) => `${name}-node${node}`));
    const { hosts: links } = JSON.parse(inCluster("status").stdout);
    expect(links.map(({ node }) => node)).toEqual(["node0", "node1"]);
    for (const { link } of links) expect(link.received).toBeGreaterThan(0);
  });

  it("keeps each node's shared memory to itself", () => {
    inCluster("enter", "node0", "touch", "/dev/shm/mine");
    expect(inCluster("enter", "node0", "ls", "/dev/shm").stdout).toBe("mine\n");
    expect(inCluster("enter", "node1", "ls", "/dev/shm").stdout).toBe("");
    expect(existsSync("/dev/shm/mine")).toBe(false);
  });

  it("holds a thread that joins a device to its share of a core", () => {
    const busy = `echo 0 > $(echo $HSAP_COMPUTE_CGROUP | sed "s/%h/$(hostname)/; s/%r/0/")
      end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done; cat /proc/$$/stat`;
    const fields = inCluster("enter", "node1", "sh", "-c", busy).stdout.split(" ");
    // User and system time in ticks of 10 ms, of the shell and the programs it started: a tenth of two seconds, and a period.
    const ticks = fields.slice(13, 17).reduce((sum, field) => sum + Number(field), 0);
    expect(ticks).toBeGreaterThan(0);
    expect(ticks).toBeLessThan(40);
  });

  it("cuts a node's link and joins it again", () => {
    // Nothing listens there: a node that can be reached says so.
    const answer = () =>
      inCluster("enter", "node0", "timeout", "1", "bash", "-c", "true < /dev/tcp/10.77.0.2/9").stderr.match(
        /refused/,
      )?.[0];
    expect(answer()).toBe("refused");
    // Options may stand behind the words.
    cluster("link", "node1", "down", "--name", name);
    expect(answer()).toBeUndefined();
    inCluster("link", "node1", "up");
    expect(answer()).toBe("refused");
  });

  it("is refused a second time under its name", () => {
    expect(inCluster("up").stderr).toBe(
      `cluster: cluster ${name} is there already (take it down, or choose another --name)\n`,
    );
    expect(inCluster("enter", "node0", "hostname").stdout).toBe(`${name}-node0\n`);
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
