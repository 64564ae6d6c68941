import type { Command } from "commander";

/** The options that describe a problem, the same for every command. All are text as typed. */
export interface ProblemOptions {
  readonly docs?: string;
  readonly lengths?: string;
  readonly mix?: string;
  readonly pack?: string;
  readonly tokens?: string;
  readonly seed?: string;
  readonly ranks?: string;
  readonly ranksPerNode?: string;
  readonly cluster?: string;
  readonly heads?: string;
  readonly kvHeads?: string;
  readonly headDim?: string;
  readonly dtype?: string;
  readonly mask?: string;
  readonly pass?: string;
  readonly strategy?: string;
  readonly degrees?: string;
  readonly option?: readonly string[];
  readonly faithful?: boolean;
  readonly memoryCap?: string;
  readonly json?: boolean;
}

/** Adds the problem's options to a command, in the order that its help shows them. */
export function addProblemOptions(command: Command): Command {
  return command
    .option("--docs <lengths>", "document lengths in tokens, in order: 4096,128,7")
    .option(
      "--lengths <file>",
      "document lengths from a .csv (column tokens) or .json file; with --tokens, drawn from it",
    )
    .option("--mix <name>", "a named mix of documents, drawn to fill --tokens")
    .option("--pack <name>", "a pack that comes with the project, such as hybrid-8")
    .option("--tokens <n>", "tokens in a drawn pack (default: 8192)")
    .option("--seed <n>", "seed of the draw and of the inputs (default: 1)")
    .option("--ranks <n>", "how many ranks share the sequence (default: the cluster's, or 8)")
    .option("--ranks-per-node <n>", "ranks in one node (default: the cluster's, or 4)")
    .option("--cluster <name>", "links and devices: a preset or a .yaml file (default: local)")
    .option("--heads <n>", "query heads (default: 8)")
    .option(
      "--kv-heads <n>",
      "key and value heads; must divide the query heads (default: 2, or the query heads if odd)",
    )
    .option("--head-dim <n>", "elements of one head (default: 64)")
    .option("--dtype <type>", "what travels: fp32 or bf16 (default: fp32)")
    .option("--mask <mask>", "inside a document: causal or full (default: causal)")
    .option("--pass <pass>", "forward or backward; both where a command runs (default: forward, or both)")
    .option("--strategy <name>", "which strategy (default: hsap, or all where a command compares)")
    .option("--degrees <list>", "how many ranks each mechanism spans: ulysses=2,sap=4 (default: the strategy's choice)")
    .option("--option <name=value>", "an option of the strategy; may be repeated", collect, [])
    .option("--faithful", "do what the published system does with packs, right or wrong: all such options at once")
    .option("--memory-cap <bytes>", "highest peak of any rank: 512MiB, 2GB (default: none)")
    .option("--json", "print JSON instead of a table");
}

/** Gathers the values of an option that may be repeated. */
export function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}
