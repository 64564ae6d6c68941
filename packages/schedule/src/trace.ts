/**
 * When each op of a schedule ran, measured by the engine or predicted by the simulator. Columns are aligned with the
 * schedule's op table. Times are microseconds since the moment at which all ranks were ready.
 */
export interface Trace {
  /** `replayed`: computation as measured, transfers as simulated. */
  readonly origin: "measured" | "simulated" | "replayed";
  /** When the op began: its dependencies were met and its lane was free. All ops of a group begin with the group. */
  readonly beginUs: Float64Array;
  readonly endUs: Float64Array;
  /** Processor time of the rank's own thread inside the op (measured), or the modelled busy time (simulated). */
  readonly busyUs: Float64Array;
  /** When the last rank finished. */
  readonly durationUs: number;
}
