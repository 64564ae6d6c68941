import type { Command } from "commander";
import { addLayerOptions, type GivenLayers } from "./layer-options.ts";
import { collect } from "./problem-options.ts";
import { addThreadOptions, type GivenThreads } from "./thread-options.ts";

/** The options of `hsap train`, as typed. */
export interface TrainOptions extends GivenThreads, GivenLayers {
  readonly model?: string;
  readonly strategy?: string;
  readonly weights?: string;
  readonly degrees?: string;
  readonly option?: readonly string[];
  readonly faithful?: boolean;
  readonly ranks?: string;
  readonly ranksPerNode?: string;
  readonly mix?: string;
  readonly tokens?: string;
  readonly seed?: string;
  readonly steps?: string;
  readonly dtype?: string;
  readonly learningRate?: string;
  readonly checkpoint?: string;
  readonly every?: string;
  readonly resume?: boolean;
  readonly check?: boolean;
  readonly results?: string;
  readonly json?: boolean;
}

/** Adds them to a command, in the order that its help shows them. */
export function addTrainOptions(command: Command): Command {
  const named = command
    .option("--model <name>", "tiny, 160m, 1.3b, 7b, 13b, 30b or 70b (default: tiny)")
    .option("--strategy <name>", "an attention strategy, or megatron; with --check a list, or all (default: hsap)")
    .option(
      "--weights <placement>",
      "replicated, grouped (over each data group) or sharded (ZeRO-3) (default: sharded; megatron splits its own)",
    )
    .option(
      "--degrees <list>",
      "how many ranks each mechanism spans: tensor=2,ulysses=2,data=2; or auto or fastest, by predicted time (default: the strategy's choice without tensor and data)",
    )
    .option("--option <name=value>", "an option of the strategy; may be repeated", collect, [])
    .option("--faithful", "do what the published system does with packs, right or wrong: all such options at once")
    .option("--ranks <n>", "how many ranks share a sequence (default: 4)")
    .option("--ranks-per-node <n>", "ranks in one node (default: 4)")
    .option("--mix <name>", "a named mix of document lengths (default: chat)")
    .option("--tokens <n>", "tokens of each step (default: 1024)")
    .option("--seed <n>", "seed of weights, documents and their text (default: 1)")
    .option("--steps <n>", "train up to this step (default: 200)")
    .option("--dtype <type>", "what activations, weights and messages are: fp32 or bf16 (default: fp32)")
    .option("--learning-rate <x>", "AdamW's, after a rise over 20 steps (default: 0.003)");
  return addThreadOptions(addLayerOptions(named))
    .option("--checkpoint <file>", "where the state is kept, after every --every steps and at the end")
    .option("--every <n>", "steps between two rows of the table, and two checkpoints (default: 20)")
    .option("--resume", "go on from --checkpoint, if it is there")
    .option("--check", "instead of training: one step of each --strategy, against the step of one rank")
    .option("--results <folder>", "where checks are kept, and not taken again (default: nowhere)")
    .option("--json", "print a line of JSON for every step instead of a table");
}
