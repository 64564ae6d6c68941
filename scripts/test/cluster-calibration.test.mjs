import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { TestCluster, whyNoExperiments } from "./experiment-on-cluster.mjs";

const lacking = whyNoExperiments({ slurm: false });
const ranksPerNode = 2;
const ranks = 2 * ranksPerNode;
const linkMbit = 1600;
const cluster = new TestCluster(`c${process.pid}`, ranksPerNode);
const names = ["links-hardware.yaml", "links.yaml"];
let folder;

beforeAll(async () => {
  if (lacking.length > 0) return;
  folder = mkdtempSync(path.join(os.tmpdir(), "hsap-calibration-"));
  await cluster.up("--device-share", "none", "--bandwidth-mbit", `${linkMbit}`);
}, 60_000);
afterAll(() => {
  if (lacking.length > 0) return;
  cluster.down();
  rmSync(folder, { recursive: true });
}, 60_000);
beforeEach(({ skip }) => {
  if (lacking.length > 0) skip(lacking.join("; "));
});

// In this order: what the first test writes must outlive the runs that fail.
describe("a calibration by 2 nodes of 2 ranks", { timeout: 150_000 }, () => {
  it("writes the links by level and the rate of ranks, by which schedules are made and predicted", async () => {
    const { exitCode, out } = await calibration().ended;
    expect(exitCode).toBe(0);
    const [hardware, file] = names.map((name) => path.join(folder, name));
    const profile = JSON.parse(out);
    expect(profile).toMatchObject({ origin: "measured", nodes: 2, ranksPerNode, file, hardwareFile: hardware });
    expect(readdirSync(folder).sort()).toEqual(names);
    for (const { messages } of [profile.node, profile.network])
      expect(messages.map(({ bytes }) => bytes)).toEqual([256, 8192, 65536, 524288, 4194304]);
    // A burst may be ahead of the cap.
    expect(profile.network.bandwidthGBps).toBeLessThan((1.2 * linkMbit) / 8e3 / ranksPerNode);
    expect(profile.rankTeraflops).toHaveLength(ranks);
    expect(Math.min(...profile.rankTeraflops)).toBeGreaterThan(0);

    const problem = ["--cluster", file, "--ranks", `${ranks}`, "--docs", "4000,700,1000,330", "--json"];
    const compiled = await json("compile", "--strategy", "hsap", ...problem);
    expect(compiled).toMatchObject({ ranks, verified: true });
    expect(compiled.bytesByLevel.map(({ level }) => level)).toEqual(["node", "cluster"]);

    // All-gather's busiest link is that between nodes, which every rank receives the same over.
    const gather = ["simulate", "--strategy", "allgather", ...problem, "--hardware", hardware];
    const { reports } = await json(...gather);
    const between = reports[0].bytesByLevel.find(({ level }) => level === "cluster").bytes / ranks;
    expect(reports[0].floorsMs.bandwidth / (between / profile.network.bandwidthGBps / 1e6)).toBeCloseTo(1, 1);
    // Ops take as much longer than on a core of this machine as was measured.
    const fast = path.join(os.tmpdir(), `hsap-fast-${process.pid}.yaml`);
    writeFileSync(fast, readFileSync(hardware, "utf8").replace(/(forward: \{ value: )[\d.]+/, "$11"));
    const undelayed = await json(...gather.slice(0, -1), fast);
    rmSync(fast);
    const computing = ([{ perRank }]) => Math.max(...perRank.map(({ computingMs }) => computingMs));
    const ratio = computing(reports) / computing(undelayed.reports);
    expect(ratio / profile.slowdown.forward).toBeCloseTo(1, 2);
  });

  it("replaces nothing when a rank is killed", async () => {
    const written = texts();
    const { ended } = await underWay();
    process.kill(await cluster.rankProcess(3), "SIGKILL");
    const { exitCode, out, err } = await ended;
    // Rank 0 says what is written if it is asked to end before it is killed.
    const kept = "(; no profile is written; start it again)?";
    expect(err).toMatch(
      new RegExp(`^hsap: rank 3 on ${cluster.hostOf(3)} was killed by signal 9 \\(Killed\\)${kept}$`, "m"),
    );
    expect([exitCode, out]).toEqual([1, ""]);
    expect(texts()).toEqual(written);
    expect(await cluster.leftovers(10_000)).toEqual([]);
  });

  it("replaces nothing on Ctrl-C", async () => {
    const written = texts();
    const { child, ended } = await underWay();
    child.kill("SIGINT");
    const { exitCode, out, err } = await ended;
    expect(err).toContain("hsap: interrupted: no profile is written; start it again\n");
    expect([exitCode, out]).toEqual([130, ""]);
    expect(texts()).toEqual(written);
    expect(await cluster.leftovers(10_000)).toEqual([]);
  });
});

function calibration() {
  const measured = ["calibrate", "--repeats", "1", "--out", path.join(folder, "links.yaml"), "--json"];
  return cluster.hsap([...measured, ..."--launcher mpirun --nodes 2 --ranks-per-node".split(" "), `${ranksPerNode}`]);
}

/** A calibration that measures links already. */
async function underWay() {
  const run = calibration();
  await new Promise((resolve, reject) => {
    let err = "";
    run.child.stderr.on("data", (text) => {
      err += text;
      if (err.includes("links of a node")) resolve();
    });
    run.child.once("close", () => reject(new Error(`it ended before: ${err}`)));
  });
  return run;
}

/** Everything that is there, by file name. */
const texts = () => readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name), "utf8")]);

async function json(...words) {
  const { exitCode, out, err } = await cluster.hsap(words).ended;
  expect([exitCode, err]).toEqual([0, ""]);
  return JSON.parse(out);
}
