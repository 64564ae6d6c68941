import { isCommunication, opKinds, type Schedule, type Trace, worldSizeOf } from "@hsap/schedule";

/** Processor time of each rank by lane, in milliseconds. */
export interface ProcessorTime {
  readonly computation: number[];
  readonly communication: number[];
}

const communicates = opKinds.map(isCommunication);

/** Sums what each rank's own threads spent inside its ops. */
export function processorTimeOf(schedule: Schedule, trace: Trace): ProcessorTime {
  const { opBegin, ops } = schedule;
  const computation = new Array<number>(worldSizeOf(schedule)).fill(0);
  const communication = [...computation];
  for (let rank = 0; rank < computation.length; rank++) {
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      const lane = communicates[ops.kind[row]] ? communication : computation;
      lane[rank] += trace.busyUs[row] / 1000;
    }
  }
  return { computation, communication };
}

/**
 * The critical path of a run in lock step, in milliseconds: the sum over stages of the slowest rank's computation in that
 * stage. A stage is what a rank computes between two of its consecutive groups in issue order; stage i of all ranks are set
 * side by side. It is what a step would take if every rank had a processor of its own, transfers cost nothing and all
 * ranks met at every group. Ranks with fewer groups than others meet nobody in the last stages, so for schedules that do
 * not march in step this is an upper bound; `longestChainMs` is the bound from below.
 */
export function criticalPathMs(schedule: Schedule, trace: Trace): number {
  const { opBegin, ops } = schedule;
  const slowest: number[] = [];
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    const stages: number[] = [0];
    let group = -1;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (!communicates[ops.kind[row]]) stages[stages.length - 1] += trace.busyUs[row];
      else if (ops.group[row] !== group) {
        group = ops.group[row];
        stages.push(0);
      }
    }
    stages.forEach((busy, stage) => {
      slowest[stage] = Math.max(slowest[stage] ?? 0, busy);
    });
  }
  return slowest.reduce((sum, busy) => sum + busy, 0) / 1000;
}
