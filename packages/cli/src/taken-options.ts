import { InputError } from "@hsap/workload";
import type { ExperimentOptions } from "./program.ts";

/**
 * Checks that an experiment was given no other options than it takes.
 *
 * @param why in brackets after the option that it does not take.
 * @throws InputError if it was.
 */
export function refuseOtherOptions(options: ExperimentOptions, taken: readonly string[], why: string): void {
  for (const [name, value] of Object.entries(options)) {
    // What is there though nobody typed it: empty lists, and the usual launcher.
    const isDefault = (Array.isArray(value) && value.length === 0) || value === "local";
    if (!taken.includes(name) && !isDefault) throw new InputError(`invalid option: ${name} (${why})`);
  }
}
