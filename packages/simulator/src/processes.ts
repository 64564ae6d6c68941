import {
  groupKinds,
  isCommunication,
  type LoweredSchedule,
  lower,
  opKinds,
  type Pass,
  type Schedule,
} from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { z } from "zod";
import type { ThreadMachine } from "./threads/thread-machine.ts";
import { threadPlanOf } from "./threads/thread-plan.ts";

/**
 * Ranks that are processes over MPI, each on a processor or a share of one: an op takes the processor time that it takes as a thread of
 * this machine, times how much slower the rank's device is. `hsap calibrate --launcher` measures it.
 */
export interface ProcessDevice {
  readonly slowdown: Readonly<Record<Pass, number>>;
}

const factor = z.number().positive();

/** How a hardware file writes it. */
export const processDeviceSchema = z.strictObject({
  slowdown: z.strictObject({ forward: factor, backward: factor }),
});

/**
 * Microseconds of each op on such a device.
 *
 * @throws InputError if nothing is known of the machine's own ops.
 */
export function processOpUs(
  schedule: Schedule,
  lowered: LoweredSchedule | undefined,
  { slowdown }: ProcessDevice,
  machine: ThreadMachine | undefined,
): Float64Array {
  if (machine === undefined) throw new InputError("missing threads: a hardware file with processes needs them");
  const { opUs } = threadPlanOf(schedule, lowered ?? lower(schedule), machine);
  return opUs.map((us) => us * slowdown[schedule.problem.pass]);
}

const communicates = opKinds.map(isCommunication);
const p2p = groupKinds.indexOf("p2p");

/** The schedule with every group as a batch of single transfers, which is how MPI's non-blocking collectives move them. */
export function singleTransfers(schedule: Schedule): Schedule {
  const { ops } = schedule;
  const attribute = ops.attribute.map((value, op) => (communicates[ops.kind[op]] ? p2p : value));
  return { ...schedule, ops: { ...ops, attribute } };
}
