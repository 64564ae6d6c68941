import { describe, expect, test } from "vitest";
import { rankPlaceOf } from "../src/launch/rank-place.ts";

/** Inside of a batch script of Slurm, which is no rank. */
const batchStep = { SLURM_JOB_ID: "7", SLURM_PROCID: "0", SLURM_LOCALID: "0", SLURM_NTASKS: "8", SLURM_NNODES: "2" };
const openMpi = {
  OMPI_COMM_WORLD_RANK: "5",
  OMPI_COMM_WORLD_SIZE: "8",
  OMPI_COMM_WORLD_LOCAL_RANK: "1",
  OMPI_COMM_WORLD_LOCAL_SIZE: "4",
};

describe("the place of a process among ranks", () => {
  test.each([
    ["Open MPI's variables", openMpi, { launcher: "Open MPI", rank: 5, ranks: 8, nodeRank: 1, nodeRanks: 4 }],
    [
      "MPICH's",
      { PMI_RANK: "3", PMI_SIZE: "4", MPI_LOCALRANKID: "1", MPI_LOCALNRANKS: "2" },
      { launcher: "MPICH", rank: 3, ranks: 4, nodeRank: 1, nodeRanks: 2 },
    ],
    [
      "MPICH's, with one rank a node",
      { PMI_RANK: "3", PMI_SIZE: "4" },
      { launcher: "MPICH", rank: 3, ranks: 4, nodeRank: 0 },
    ],
    [
      "those of a step of Slurm",
      { ...batchStep, SLURM_PROCID: "6", SLURM_LOCALID: "2", SLURM_STEP_NUM_TASKS: "8" },
      { launcher: "Slurm", rank: 6, ranks: 8, nodeRank: 2 },
    ],
    [
      "torchrun's",
      { RANK: "2", WORLD_SIZE: "4", LOCAL_RANK: "0", LOCAL_WORLD_SIZE: "2" },
      { launcher: "torchrun", rank: 2, ranks: 4, nodeRank: 0, nodeRanks: 2 },
    ],
    [
      "mpirun's inside of an allocation of Slurm",
      { ...batchStep, SLURM_STEP_NUM_TASKS: "2", ...openMpi },
      { launcher: "Open MPI", rank: 5, ranks: 8, nodeRank: 1, nodeRanks: 4 },
    ],
    ["no variables", {}, undefined],
    ["those of a batch script, which is no rank", batchStep, undefined],
    ["empty ones", { RANK: "", WORLD_SIZE: "" }, undefined],
  ])("is found from %s", (_, variables, place) => {
    expect(rankPlaceOf(variables)).toEqual(place);
  });

  test.each([
    [{ RANK: "x", WORLD_SIZE: "4" }, 'invalid RANK: "x" (must be a whole number of at least 0)'],
    [{ RANK: "4", WORLD_SIZE: "4" }, "invalid RANK: 4 (must be below WORLD_SIZE, 4)"],
    [{ RANK: "0", WORLD_SIZE: "0" }, 'invalid WORLD_SIZE: "0" (must be a whole number of at least 1)'],
    [{ ...openMpi, OMPI_COMM_WORLD_LOCAL_RANK: "4" }, "invalid OMPI_COMM_WORLD_LOCAL_RANK: 4 (must be below 4)"],
  ])("is refused where variables contradict each other: %j", (variables, message) => {
    expect(() => rankPlaceOf(variables)).toThrow(message);
  });
});
