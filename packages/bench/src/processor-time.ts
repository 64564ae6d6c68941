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
