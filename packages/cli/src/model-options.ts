import type { Command } from "commander";
import { addLayerOptions, type GivenLayers } from "./layer-options.ts";

/** The options of `hsap model`, as typed. */
export interface ModelOptions extends GivenLayers {
  readonly model?: string;
  readonly strategy?: string;
  readonly weights?: string;
  readonly degrees?: string;
  readonly cluster?: string;
  readonly ranks?: string;
  readonly mix?: string;
  readonly document?: string;
  readonly tokens?: string;
  readonly seed?: string;
  readonly dtype?: string;
  readonly lossChunk?: string;
  readonly maxTokens?: boolean;
  readonly figure?: string;
  readonly json?: boolean;
}

/** Adds them to a command, in the order that its help shows them. */
export function addModelOptions(command: Command): Command {
  const named = command
    .option("--model <name>", "tiny, 160m, 1.3b, 7b, 13b, 30b or 70b (default: 7b)")
    .option("--strategy <list>", "which strategies (default: megatron,colai-sp,ulysses,hsap)")
    .option(
      "--weights <placement>",
      "replicated, grouped (over each data group) or sharded (ZeRO-3) (default: sharded; megatron splits its own)",
    )
    .option(
      "--degrees <list>",
      "how many ranks each mechanism spans, for one strategy: tensor=2,ulysses=4,data=2; or auto, which tries its choice with every tensor and data, or fastest, which tries all; with --max-tokens, most: those that fit most (default: its choice without those)",
    )
    .option("--cluster <name>", "links and devices: a preset or a .yaml file (default: h100-400g)")
    .option("--ranks <n>", "how many ranks share a sequence (default: 8)")
    .option("--mix <name>", "a named mix of document lengths (default: hybrid)")
    .option("--document <list>", "instead of a mix, documents all of this length; one or several lengths")
    .option("--tokens <list>", "tokens of a step, one or several (default: 65536)")
    .option("--seed <n>", "seed of the draw (default: 1)")
    .option("--dtype <type>", "what activations and weights are: bf16 or fp32 (default: bf16)");
  return addLayerOptions(named)
    .option("--loss-chunk <n>", "tokens whose logits are held at once (default: 4096)")
    .option(
      "--max-tokens",
      "instead: the most tokens of a step that fit into the device; model, cluster, ranks, weights and recompute may be lists",
    )
    .option("--figure <file>", "draw rate and memory by length or tokens, or the most tokens: .svg or .png")
    .option("--json", "print JSON instead of a table");
}
