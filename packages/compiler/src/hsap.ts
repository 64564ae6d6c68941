import {
  checkProblem,
  type Degrees,
  type Problem,
  type Schedule,
  type Strategy,
  type StrategyOptions,
} from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { candidateDegrees, chooseDegrees } from "./degrees.ts";
import { hierarchyOf } from "./hierarchy.ts";
import { lowerToPrograms } from "./lower.ts";
import { place } from "./place.ts";
import { route } from "./route.ts";
import { type ShardingKind, shard, shardings } from "./shard.ts";
import { stage } from "./stage.ts";
import { tile } from "./tile.ts";

/** Hierarchical sequence-aware parallelism: a schedule compiled for the very documents of a batch and the links of a cluster. */
export const hsap: Strategy = {
  name: "hsap",
  summary:
    "Compiles for the batch: balanced shards, only needed keys move, each enters a node once; heads may split inside nodes.",
  citation: "HSAP, arXiv 2606.30460",
  degreeNames: ["ulysses", "sap"],
  options: {
    shard: {
      summary:
        "balanced: equal tokens and equal area per rank, documents cut as little as possible; contiguous: as the batch lies",
      default: "balanced",
    },
  },
  defaultDegrees: chooseDegrees,
  candidateDegrees,
  compile,
};

function compile(problem: Problem, degrees: Degrees, options: StrategyOptions = {}): Schedule {
  const kind = shardingKind(options);
  const hierarchy = hierarchyOf(checkProblem(problem), degrees);
  const sharding = shard(problem, hierarchy, kind);
  const placement = place(sharding, tile(problem, sharding));
  const routing = route(sharding, placement, hierarchy);
  const messages = stage(routing, hierarchy.units, problem.pass);
  return lowerToPrograms(problem, hsap.name, degrees, { hierarchy, sharding, messages });
}

function shardingKind(options: StrategyOptions): ShardingKind {
  for (const name of Object.keys(options)) {
    if (name !== "shard") throw new InputError(`unknown option: ${name} (hsap takes shard)`);
  }
  const kind = options.shard ?? "balanced";
  const known = shardings.find((sharding) => sharding === kind);
  if (known === undefined) throw new InputError(`invalid shard: ${kind} (must be ${shardings.join(" or ")})`);
  return known;
}
