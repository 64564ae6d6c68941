import type { MpiOptions } from "@hsap/engine";
import { InputError } from "@hsap/workload";

/**
 * What HSAP_MPI_TIMEOUT_S, HSAP_MPI_POLL_US and HSAP_MPI_COLLECTIVES (`on` or `off`) say.
 *
 * @throws InputError if one of them is not valid.
 */
export function mpiOptionsOf(environment: Readonly<Record<string, string | undefined>>): MpiOptions {
  const { HSAP_MPI_TIMEOUT_S, HSAP_MPI_POLL_US, HSAP_MPI_COLLECTIVES } = environment;
  const number = (name: string, text: string, least: number): number => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least && value < 1e9) return value;
    throw new InputError(`invalid ${name}: ${JSON.stringify(text)} (must be a number of at least ${least})`);
  };
  if (HSAP_MPI_COLLECTIVES !== undefined && !["on", "off"].includes(HSAP_MPI_COLLECTIVES)) {
    throw new InputError(`invalid HSAP_MPI_COLLECTIVES: ${JSON.stringify(HSAP_MPI_COLLECTIVES)} (must be on or off)`);
  }
  return {
    ...(HSAP_MPI_TIMEOUT_S !== undefined && { timeoutS: number("HSAP_MPI_TIMEOUT_S", HSAP_MPI_TIMEOUT_S, 1) }),
    ...(HSAP_MPI_POLL_US !== undefined && { pollUs: number("HSAP_MPI_POLL_US", HSAP_MPI_POLL_US, 0) }),
    collectives: HSAP_MPI_COLLECTIVES !== "off",
  };
}
