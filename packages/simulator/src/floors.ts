import { accountOf, flopsOf, ranksOf, type Schedule } from "@hsap/schedule";
import type { Kernel } from "./hardware.ts";
import { flopsPerPair } from "./kernel-time.ts";

/** Times below which no run of the schedule can be, in microseconds. */
export interface Floors {
  /** The busiest rank's unmasked pairs at the kernel's rate on endless tiles. */
  readonly computationUs: number;
  /** The busiest link's bytes at its bandwidth. */
  readonly bandwidthUs: number;
  /** All unmasked pairs of the problem, spread evenly: what no strategy can go below. */
  readonly problemUs: number;
}

/** `measuredUs` stands for the kernel where it is given: then the floor of computation is the busiest rank's measured time. */
export function floorsOf(
  schedule: Schedule,
  kernel: Kernel,
  carried: Float64Array,
  capacity: Float64Array,
  measuredUs?: Float64Array,
): Floors {
  const { problem } = schedule;
  const flopsPerUs = 1e6 * problem.cluster.device.peakTflops * kernel[problem.pass].shareOfPeak;
  const account = accountOf(schedule);
  let bandwidthUs = 0;
  carried.forEach((bytes, link) => {
    bandwidthUs = Math.max(bandwidthUs, bytes / capacity[link]);
  });
  return {
    computationUs:
      measuredUs === undefined
        ? (account.area.max * flopsPerPair(problem.shape.headDim, problem.pass)) / flopsPerUs
        : busiestUs(schedule, measuredUs),
    bandwidthUs,
    problemUs: flopsOf(problem) / ranksOf(problem) / flopsPerUs,
  };
}

function busiestUs({ opBegin, ops }: Schedule, measuredUs: Float64Array): number {
  let busiest = 0;
  for (let rank = 0; rank + 1 < opBegin.length; rank++) {
    let sum = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) if (ops.group[row] < 0) sum += measuredUs[row];
    busiest = Math.max(busiest, sum);
  }
  return busiest;
}
