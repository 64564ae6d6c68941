/**
 * A cluster of several nodes on this machine, for real: nodes are namespaces with their own network, host name and shared
 * memory, joined by links of limited bandwidth; each device has a fixed share of a core; mpirun, and Slurm if asked for,
 * start jobs across them. Needs root and Debian's iproute2, util-linux and openmpi-bin (slurm-wlm and munge for Slurm).
 *
 *     node scripts/emulate-cluster.mjs up [OPTIONS]              bring a cluster up and leave it up
 *     node scripts/emulate-cluster.mjs down [--name NAME]        take it down, whatever state it is in
 *     node scripts/emulate-cluster.mjs status [--name NAME]      what it has, and the bytes through each node's link
 *     node scripts/emulate-cluster.mjs link NODE down|up         cut a node's link, or join it again
 *     node scripts/emulate-cluster.mjs enter HOST COMMAND...     run a command on node0, node1, ... or head
 *     node scripts/emulate-cluster.mjs run [OPTIONS] COMMAND...  bring it up, run a command on the head, take it down
 *
 *     --name NAME              of the cluster (default: emulated)
 *     --nodes N                (default: 2)
 *     --devices G              of each node (default: 4)
 *     --bandwidth-mbit B       of each node's link, each way (default: 800)
 *     --device-share S         of a core for each device (default: four fifths of the cores, shared by all); none: whatever is
 *                              free, as other processes have it, where what happens counts and not how long it takes
 *     --slurm                  start Slurm as well
 *
 * Its files are in /run/hsap-cluster/NAME; `mpirun` there takes `-n RANKS PROGRAM...`. On the head, PATH begins with that
 * folder, so that jobs are started the same way as on a real cluster.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bringUp, hostNames, takeDown } from "./emulate-cluster/cluster.mjs";
import { ClusterError } from "./emulate-cluster/cluster-error.mjs";
import { defaultShare } from "./emulate-cluster/device-shares.mjs";
import { readJournal } from "./emulate-cluster/journal.mjs";
import { folderOf, head, nodeNames } from "./emulate-cluster/layout.mjs";
import { linkBytes, setLink } from "./emulate-cluster/network.mjs";

const options = {
  name: { type: "string", default: "emulated" },
  nodes: { type: "string", default: "2" },
  devices: { type: "string", default: "4" },
  "bandwidth-mbit": { type: "string", default: "800" },
  "device-share": { type: "string" },
  slurm: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
};

const commands = { up, down, status, link, enter, run };

/** Ends with the signal that asks us to, after the cluster is gone. */
const interruption = new AbortController();

async function main(words) {
  const [name, ...rest] = words;
  if (name === undefined || name === "--help") return help();
  const chosen = commands[name];
  if (chosen === undefined) {
    throw new ClusterError(`unknown command: ${name} (must be one of ${Object.keys(commands).join(", ")})`);
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      process.exitCode = 128 + os.constants.signals[signal];
      interruption.abort(new ClusterError(`interrupted by ${signal}`));
    });
  }
  const asked = parsed(rest, chosen === enter || chosen === run);
  await (asked === undefined ? help() : chosen(asked));
}

/** Prints the head of this file. */
function help() {
  const [, head] = /^\/\*\*\n(.*?) \*\/$/ms.exec(readFileSync(fileURLToPath(import.meta.url), "utf8"));
  process.stdout.write(head.replaceAll(/^ \* ?/gm, ""));
}

async function up({ wish, words }) {
  refuseWords(words);
  await bringUp(wish, interruption.signal, say);
  say(
    `up: ${hostNames(wish).join(", ")}; start jobs with ${path.join(folderOf(wish.name), "mpirun")} -n RANKS PROGRAM...`,
  );
}

async function down({ wish, words }) {
  refuseWords(words);
  const journal = readJournal(wish.name);
  if (journal === undefined) return say(`there is no cluster ${wish.name}`);
  await takeDown(journal);
  say("down");
}

async function status({ wish, words }) {
  refuseWords(words);
  const { wish: made } = existing(wish.name);
  const nodes = await Promise.all(
    nodeNames(made.nodes).map(async (node) => ({ node, link: await linkBytes(made.name, node) })),
  );
  process.stdout.write(`${JSON.stringify({ ...made, folder: folderOf(made.name), hosts: nodes }, null, 2)}\n`);
}

async function link({ wish, words: [node, state, ...more] }) {
  const nodes = nodeNames(existing(wish.name).wish.nodes);
  if (!nodes.includes(node)) throw new ClusterError(`unknown node: ${node} (must be one of ${nodes.join(", ")})`);
  if (!["up", "down"].includes(state) || more.length > 0) {
    throw new ClusterError(`invalid state of the link: ${[state, ...more].join(" ")} (must be up or down)`);
  }
  await setLink(wish.name, node, state);
}

async function enter({ wish, words: [host, ...words] }) {
  existing(wish.name);
  if (words.length === 0) throw new ClusterError("no command given (enter HOST COMMAND...)");
  await runOn(wish.name, host, words);
}

async function run({ wish, words }) {
  if (words.length === 0) throw new ClusterError("no command given (run [OPTIONS] COMMAND...)");
  const journal = await bringUp(wish, interruption.signal, say);
  try {
    await runOn(wish.name, head, words);
  } finally {
    await takeDown(journal);
    say("down");
  }
}

/** Runs a command on a host to its end, handing signals on to it; our exit code becomes its. */
async function runOn(name, host, words) {
  const folder = folderOf(name);
  const child = spawn(path.join(folder, "enter"), [host, ...words], {
    stdio: "inherit",
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    // Of a group of its own, so that a Ctrl-C reaches it once, by us.
    detached: true,
  });
  const handOn = (signal) => process.kill(-child.pid, signal);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, handOn);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new ClusterError(`cannot start ${words[0]} (${error.message})`)));
    child.once("exit", (...ending) => resolve(ending));
  });
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(name, handOn);
  process.exitCode = code ?? 128 + os.constants.signals[signal];
}

function refuseWords([word]) {
  if (word !== undefined) throw new ClusterError(`unexpected word: ${word} (this command takes options only)`);
}

function existing(name) {
  const journal = readJournal(name);
  if (journal === undefined) throw new ClusterError(`there is no cluster ${name} (bring it up first)`);
  return journal;
}

/** What the words of a command ask for; undefined if it is help. */
function parsed(words, hasCommand) {
  // Before a command options end with the first word that is none, so that those of the command stay its own.
  const begin = words.findIndex((word, i) => !word.startsWith("-") && !takesValue(words[i - 1]));
  const end = begin === -1 || !hasCommand ? words.length : begin;
  const { values, positionals } = parsedOptions(words.slice(0, end));
  if (values.help) return undefined;
  const nodes = countOf("nodes", values.nodes, 1, 250);
  const devices = countOf("devices", values.devices, 1, 64);
  const share = shareOf(values["device-share"], nodes * devices);
  const bandwidthMbit = amountOf("bandwidth-mbit", values["bandwidth-mbit"], 1, 100_000);
  if (!/^[a-z][a-z0-9]{0,11}$/.test(values.name)) {
    throw new ClusterError(`invalid name: ${values.name} (must be up to 12 small letters and digits, a letter first)`);
  }
  return {
    wish: { name: values.name, nodes, devices, bandwidthMbit, share, slurm: values.slurm },
    words: [...positionals, ...words.slice(end)],
  };
}

function shareOf(text, devices) {
  if (text === undefined) return defaultShare(devices);
  return text === "none" ? undefined : amountOf("device-share", text, 0.005, os.availableParallelism());
}

const takesValue = (word) => word?.startsWith("--") && options[word.slice(2)]?.type === "string";

function parsedOptions(words) {
  try {
    return parseArgs({ args: words, options, allowPositionals: true });
  } catch (error) {
    throw new ClusterError(error.message.split("\n")[0]);
  }
}

function countOf(name, text, least, most) {
  const value = amountOf(name, text, least, most);
  if (!Number.isInteger(value)) throw new ClusterError(`invalid ${name}: ${text} (must be a whole number)`);
  return value;
}

function amountOf(name, text, least, most) {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least && value <= most)) {
    throw new ClusterError(`invalid ${name}: ${text} (must be from ${least} to ${most})`);
  }
  return value;
}

function say(line) {
  process.stderr.write(`cluster: ${line}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ClusterError)) throw error;
  say(error.message);
  process.exitCode ||= 1;
}
