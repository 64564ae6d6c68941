import { type ModelProblem, type Recomputation, receivedKvs, recomputations } from "@hsap/model";
import type { Command } from "commander";
import { oneOf } from "./option-values.ts";

/** What the layers of a step keep, compute again and do beside each other, as typed. */
export interface GivenLayers {
  readonly recompute?: string;
  readonly prefetch?: boolean;
  readonly overlap?: boolean;
  readonly receivedKv?: string;
}

/** Adds them to a command, in the order that its help shows them. */
export function addLayerOptions(command: Command): Command {
  return command
    .option("--recompute <what>", "what the backward pass computes again: none, selective or full (default: selective)")
    .option("--prefetch", "gather sharded weights of the next layer while one is computed")
    .option("--overlap", "let tensor ranks gather and scatter rows in pieces, beside products")
    .option(
      "--received-kv <what>",
      "other ranks' keys and values, for the backward pass: fetch or keep (default: fetch)",
    );
}

/**
 * The options as a step takes them, but for what is computed again, which may be a list.
 *
 * @throws InputError if one is not valid.
 */
export function layersOf({
  prefetch = false,
  overlap = false,
  receivedKv = "fetch",
}: GivenLayers): Required<Pick<ModelProblem, "prefetch" | "overlap" | "receivedKv">> {
  return { prefetch, overlap, receivedKv: oneOf("received-kv", receivedKv, receivedKvs) };
}

export const recomputationOf = (recompute = "selective"): Recomputation =>
  oneOf("recompute", recompute, recomputations);
