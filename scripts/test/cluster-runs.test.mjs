import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { linkBytes } from "../emulate-cluster/network.mjs";
import { TestCluster, whyNoExperiments } from "./experiment-on-cluster.mjs";
import { mpichTransport, whyNoMpich } from "./mpich.mjs";

const cluster = new TestCluster(`r${process.pid}`);
/** The program of a rank that compares the bits of every strategy with those of threads. */
const bits = [
  process.execPath,
  fileURLToPath(new URL("../../packages/bench/test/mpi-rank.mjs", import.meta.url)),
  "bits",
];
let folder;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "hsap-runs-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Brings the cluster up for the tests of one group, or skips them with what is lacking. */
function onCluster(...options) {
  const lacking = whyNoExperiments({ slurm: options.includes("--slurm") });
  beforeAll(async () => {
    if (lacking.length === 0) await cluster.up(...options);
  }, 60_000);
  afterAll(() => {
    if (lacking.length === 0) cluster.down();
  }, 60_000);
  beforeEach(({ skip }) => {
    if (lacking.length > 0) skip(lacking.join("; "));
  });
}

describe("2 emulated nodes of 4 ranks", { timeout: 150_000 }, () => {
  onCluster("--device-share", "none");

  it("give the bits of threads: every strategy, both passes, fp32 and bf16", () => {
    const { status, stdout, stderr } = cluster.mpirun(["-n", "8", ...bits]);
    expect([status, stderr]).toEqual([0, ""]);
    expectBitsOfThreads(JSON.parse(stdout));
  });

  it("pass the conformance suite", async () => {
    await expectConformance();
  });

  describe("under MPICH", () => {
    const noMpich = whyNoMpich();
    let library;

    beforeAll(async () => {
      if (whyNoExperiments({ slurm: false }).length === 0 && noMpich.length === 0) library = await mpichTransport();
    }, 300_000);
    beforeEach(({ skip }) => {
      if (noMpich.length > 0) skip(noMpich.join("; "));
    });

    it("give the bits of threads: every strategy, both passes, fp32 and bf16", () => {
      const { status, stdout, stderr } = cluster.mpirun(["-n", "8", ...bits], cluster.mpich(library));
      expect([status, stderr]).toEqual([0, ""]);
      expectBitsOfThreads(JSON.parse(stdout));
    });

    it("pass the conformance suite", async () => {
      await expectConformance(cluster.mpich(library));
    });
  });

  it.for(["ring", "hsap"])("move as many bytes between them as the schedule says: %s", async (strategy) => {
    // What comes with starting, warming up and ending is the same in both; heartbeats are some hundred bytes a second.
    const few = await bytesOf(strategy, 1);
    const many = await bytesOf(strategy, 7);
    const counted = many.counted - few.counted;
    const scheduled = many.scheduled - few.scheduled;
    expect(scheduled).toBeGreaterThan(10e6);
    const ratio = counted / scheduled;
    if (process.env.HSAP_DEBUG) console.log(strategy, few, many, ratio);
    expect(ratio).toBeGreaterThan(0.97);
    expect(ratio).toBeLessThan(1.03);
  });
});

describe("Slurm on 2 emulated nodes of 4 ranks", { timeout: 300_000 }, () => {
  onCluster("--slurm");

  const experiment = (results) => ["experiment", "evaluation", "--profile", "smoke", "--results", results];
  const trialsIn = (results) => {
    const file = path.join(results, "trials.jsonl");
    return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").filter(Boolean).length : 0;
  };

  const jobState = (job) =>
    /JobState=\S*/.exec(cluster.enter("head", "scontrol", "show", "job", job).stdout)?.[0] ?? "no such job";

  it("runs an experiment to its figures by one sbatch of the script that the command writes, also after a time limit", async () => {
    const [script, results] = ["job.sh", "results"].map((name) => path.join(folder, name));
    const written = await cluster.hsap([
      ...["job", "--slurm", "--nodes", "2", "--ranks-per-node", "4", "--out", script, "--", ...experiment(results)],
    ]).ended;
    expect(written).toMatchObject({ exitCode: 0, out: `sbatch ${script}\n`, err: "" });
    // What Slurm sends 60 s before the limit, by --signal=B:TERM@60, only now.
    const submitted = cluster.enter("head", "sbatch", "--parsable", `--output=${folder}/first`, script);
    const job = submitted.stdout.trim();
    const said = () =>
      `${jobState(job)}: ${existsSync(`${folder}/first`) ? readFileSync(`${folder}/first`, "utf8") : ""}`;
    await until(() => trialsIn(results) > 2 || !/PENDING|RUNNING/.test(jobState(job)), said);
    expect(trialsIn(results), said()).toBeGreaterThan(2);
    expect(cluster.enter("head", "scancel", "--signal=TERM", "--batch", job).status).toBe(0);
    await until(() => !/RUNNING|COMPLETING/.test(jobState(job)), said);
    expect(cluster.enter("head", "scontrol", "show", "job", job).stdout).toContain("ExitCode=130:0");
    const [, kept, all] = /^hsap: interrupted: (\d+) of (\d+) trials are kept in /m.exec(
      readFileSync(`${folder}/first`, "utf8"),
    );
    expect(trialsIn(results)).toBe(Number(kept));
    expect(Number(kept)).toBeLessThan(Number(all));
    expect(await cluster.leftovers(10_000)).toEqual([]);

    const { status } = cluster.enter("head", "sbatch", "--wait", `--output=${folder}/second`, script);
    const out = readFileSync(`${folder}/second`, "utf8");
    expect(out).toContain(`resumed: ${kept} of ${all} trials are already there`);
    expect(out).toMatch(/, verdict: ok\n/);
    expect(status).toBe(0);
    expect(out).toContain(`ranks 4 to 7 on ${cluster.hostOf(4)}`);
    const figures = readdirSync(results, { recursive: true }).filter((file) => file.endsWith(".svg"));
    expect(figures.length).toBeGreaterThan(0);
    expect(await cluster.leftovers(10_000)).toEqual([]);
  });

  it("ends a step in one line that names rank and host when a rank is killed", async () => {
    const results = path.join(folder, "killed");
    const launched = [
      "--repeats",
      "2000",
      "--no-figures",
      "--launcher",
      "srun",
      "--nodes",
      "2",
      "--ranks-per-node",
      "4",
    ];
    const { ended } = cluster.hsapOn("head", [...experiment(results), "--strategy", "ring", ...launched]);
    await until(() => trialsIn(results) > 2);
    process.kill(await cluster.rankProcess(6, "SLURM_PROCID"), "SIGKILL");
    const { exitCode, err } = await ended;
    expect(exitCode).toBe(1);
    expect(err).toMatch(
      new RegExp(
        `^hsap: rank 6 on ${cluster.hostOf(6)} was ended: Killed; .* the same command goes on from there$`,
        "m",
      ),
    );
    expect(await cluster.leftovers(15_000)).toEqual([]);
  });
});

function expectBitsOfThreads(report) {
  expect(report).toMatchObject({ ranks: 8, different: [] });
  expect(report.hosts).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((rank) => cluster.hostOf(rank)));
  // All strategies but the reference, which has one rank.
  expect(report.runs).toBeGreaterThanOrEqual(2 * 2 * 11);
}

async function expectConformance(variables = {}) {
  const launched = "--launcher mpirun --nodes 2 --ranks-per-node 4".split(" ");
  const { exitCode, out } = await cluster.hsap(["verify", "--quick", ...launched, "--json"], variables).ended;
  expect(exitCode).toBe(0);
  const { rows, wrong } = JSON.parse(out);
  expect(wrong).toBe(0);
  expect(new Set(rows.map(({ strategy }) => strategy)).size).toBeGreaterThanOrEqual(11);
  expect(new Set(rows.map(({ ranks }) => ranks))).toEqual(new Set([8]));
}

/** Devices with a share of a core get little of it while other tests run: this waits as long as the suites may last. */
async function until(condition, said = () => "nothing was said") {
  for (const end = Date.now() + 240_000; !condition(); await sleep(100)) {
    if (Date.now() > end) throw new Error(`it did not come so far within 240 s: ${said()}`);
  }
}

/** Bytes between the nodes: counted on their interfaces, all of an experiment's, and those that its trials' schedules have. */
async function bytesOf(strategy, repeats) {
  const results = path.join(folder, `${repeats}`);
  const before = await received();
  const problem = "--docs 3000,700,200,196 --pass forward --ranks-per-node 4 --nodes 2 --launcher mpirun".split(" ");
  const { exitCode, out } = await cluster.hsap(
    [
      ...["experiment", "evaluation", "--profile", "smoke", "--strategy", strategy, "--repeats", `${repeats}`],
      ...[...problem, "--no-figures", "--results", results],
    ],
    // MPI's own collectives may pass blocks on from rank to rank.
    { HSAP_MPI_COLLECTIVES: "off" },
  ).ended;
  expect([exitCode, out]).toEqual([0, expect.stringContaining("verdict: ok")]);
  const trials = readFileSync(path.join(results, "trials.jsonl"), "utf8").trim().split("\n").map(JSON.parse);
  expect(new Set(trials.map(({ repeat }) => repeat)).size).toBe(repeats);
  return {
    counted: (await received()) - before,
    scheduled: trials.reduce((sum, { bytes }) => sum + bytes.betweenNodes, 0),
  };
}

/** What one node receives the other has sent, but for what the launcher says. */
async function received() {
  const links = await Promise.all(["node0", "node1"].map((node) => linkBytes(cluster.name, node)));
  return links.reduce((sum, link) => sum + link.received, 0);
}
