import { hostname } from "node:os";
import type { RankPlace } from "./rank-place.ts";

/**
 * The control group that the computing threads of a rank join, by the variable HSAP_COMPUTE_CGROUP: the path of the file by
 * which threads join, in which `%h` stands for the name of the host and `%r` for the rank's place on it. Undefined if it is not set.
 * With it each device of an emulated cluster is as fast as the next.
 */
export function computeGroupOf(
  environment: Readonly<Record<string, string | undefined>>,
  { nodeRank }: Pick<RankPlace, "nodeRank">,
  host: string = hostname(),
): string | undefined {
  const file = environment.HSAP_COMPUTE_CGROUP;
  if (file === undefined || file === "") return undefined;
  return file.replaceAll("%h", host).replaceAll("%r", String(nodeRank));
}
