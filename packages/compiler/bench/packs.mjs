// Compiles the fixed packs and prints what the schedules cost beside the figures of another planner for the same packs.
// Usage, after `npm run build`: node packages/compiler/bench/packs.mjs [--pass backward] [--ulysses N] [--shard contiguous] [--pack NAME]
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { clusterOf, presetCluster } from "@hsap/cluster";
import { hsap } from "@hsap/compiler";
import { accountOf } from "@hsap/schedule";
import { documentsOf, namedPack, packNames } from "@hsap/workload";

const { values } = parseArgs({
  options: {
    pass: { type: "string", default: "forward" },
    shard: { type: "string", default: "balanced" },
    ulysses: { type: "string" },
    pack: { type: "string" },
    runs: { type: "string", default: "15" },
    peer: { type: "string", default: new URL("../../workload/packs/planner-peer.csv", import.meta.url).pathname },
  },
});
const gib = 2 ** 30;
const mib = 2 ** 20;
const peers = readPeers(values.peer);

const columns = [
  ["pack", "", 12, (row) => row.name],
  ["docs", "", 5, (row) => row.documents],
  ["u", "", 2, (row) => row.ulysses],
  ["area", "max/mean", 8, (row) => row.account.area.balance.toFixed(4)],
  ["tokens", "max/mean", 8, (row) => row.account.tokens.balance.toFixed(4)],
  ["tokens", "min/mean", 8, (row) => (Math.min(...row.account.tokens.perRank) / row.account.tokens.mean).toFixed(4)],
  ["between", "GiB", 8, (row) => (row.account.betweenNodesBytes / gib).toFixed(3)],
  ["peer", "GiB", 7, (row) => row.peer.between.toFixed(3)],
  [
    "ratio",
    "",
    6,
    (row) => (row.peer.between > 0 ? (row.account.betweenNodesBytes / gib / row.peer.between).toFixed(3) : "-"),
  ],
  ["crossed", "max/mean", 8, (row) => row.crossed.toFixed(2)],
  ["received", "MiB mean", 8, (row) => (row.account.receivedBytes.mean / mib).toFixed(1)],
  ["received", "MiB max", 8, (row) => (row.account.receivedBytes.max / mib).toFixed(1)],
  ["peer", "mean", 7, (row) => row.peer.mean.toFixed(1)],
  ["peer", "max", 7, (row) => row.peer.max.toFixed(1)],
  ["groups", "max", 6, (row) => row.account.groups.max],
  ["ops", "", 7, (row) => row.account.ops.total],
  ["compile", "ms p50", 8, (row) => row.milliseconds.toFixed(2)],
  ["compile", "ms best", 8, (row) => row.best.toFixed(2)],
  ["compile", "ms first", 8, (row) => row.first.toFixed(2)],
];
for (const header of [0, 1]) console.log(columns.map((column) => column[header].padStart(column[2])).join(" "));
for (const name of [...peers.keys()].filter((known) => packNames().includes(known))) {
  if (values.pack !== undefined && values.pack !== name) continue;
  const row = measure(name);
  console.log(columns.map(([, , width, text]) => String(text(row)).padStart(width)).join(" "));
}

function measure(name) {
  const ranks = Number(name.split("-")[1]);
  const problem = {
    batch: namedPack(name),
    shape: { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" },
    cluster: clusterOf({ ranks, ranksPerNode: 8, from: presetCluster("h100-400g") }),
    mask: "causal",
    pass: values.pass,
  };
  const compile = () => {
    const ulysses = Number(values.ulysses);
    const degrees = values.ulysses === undefined ? hsap.defaultDegrees(problem) : { ulysses, sap: ranks / ulysses };
    return hsap.compile(problem, degrees, { shard: values.shard });
  };
  let schedule;
  const times = Array.from({ length: Math.max(1, Number(values.runs)) }, () => {
    const begin = performance.now();
    schedule = compile();
    return performance.now() - begin;
  });
  const [first] = times;
  times.sort((a, b) => a - b);
  return {
    name,
    documents: documentsOf(problem.batch),
    ulysses: schedule.degrees.ulysses,
    account: accountOf(schedule),
    peer: peers.get(name),
    crossed: crossingBalance(schedule),
    milliseconds: times[times.length >> 1],
    best: times[0],
    first,
  };
}

/** How evenly the ranks receive from other nodes: the most that one receives, over the mean. */
function crossingBalance({ opBegin, ops, blocks }) {
  const perRank = Array.from({ length: opBegin.length - 1 }, (_, rank) => {
    let tokens = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (ops.kind[row] !== 1 || ops.peer[row] >> 3 === rank >> 3) continue;
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) {
        tokens += blocks.tokenEnd[ops.operands[i]] - blocks.tokenBegin[ops.operands[i]];
      }
    }
    return tokens;
  });
  const total = perRank.reduce((sum, tokens) => sum + tokens, 0);
  return total === 0 ? 1 : (Math.max(...perRank) * perRank.length) / total;
}

function readPeers(file) {
  const [, ...lines] = readFileSync(file, "utf8").trim().split("\n");
  return new Map(
    lines.map((line) => {
      const [mix, ranks, , , mean, max, , , between] = line.split(",");
      return [`${mix}-${ranks}`, { mean: Number(mean), max: Number(max), between: Number(between) }];
    }),
  );
}
