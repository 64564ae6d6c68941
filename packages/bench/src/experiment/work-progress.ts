import { areaOf, type Problem } from "@hsap/schedule";
import type { ResumeProgress } from "../results/make-missing.ts";
import type { Trial } from "../trial.ts";
import type { PlannedCell } from "./planned-cells.ts";

/** What the float64 reference of a cell takes, in trials of that cell: roughly, for the time left. */
export const referenceWeight = 8;

/** Counts work by area, so that the time left is not fooled by packs of different lengths. */
export class WorkProgress {
  #work = 0;
  #trials: number;
  readonly #allWork: number;
  readonly #allTrials: number;
  #label = "";

  constructor(
    cells: readonly PlannedCell[],
    finished: ReadonlyMap<string, Trial>,
    readonly report: ((progress: ResumeProgress) => void) | undefined,
  ) {
    this.#allTrials = cells.reduce((sum, { trials }) => sum + trials.length, 0);
    this.#trials = finished.size;
    this.#allWork = cells.reduce((sum, { cell, trials }) => {
      const missing = trials.filter(({ key }) => !finished.has(key));
      const variants = new Set(missing.map(({ variant }) => variant)).size;
      return missing.length === 0 ? sum : sum + weightOf(cell.problem) * (referenceWeight + variants + missing.length);
    }, 0);
  }

  say(label: string): void {
    this.#label = label;
    this.#report();
  }

  add(problem: Problem, weight: number, trials = 0): void {
    this.#work += weightOf(problem) * weight;
    this.#trials += trials;
    this.#report();
  }

  #report(): void {
    const done = this.#allWork === 0 ? 1 : this.#work / this.#allWork;
    this.report?.({ done, trials: this.#trials, allTrials: this.#allTrials, label: this.#label });
  }
}

/** Backward passes do 2.5 times the work of forward ones; a constant stands for what every run costs whatever its area. */
function weightOf(problem: Problem): number {
  return 2e5 + areaOf(problem) * (problem.pass === "backward" ? 2.5 : 1);
}
