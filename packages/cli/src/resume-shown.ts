import type { ResumeOptions } from "@hsap/bench";
import { interruptible } from "./interruption.ts";
import type { CommandContext } from "./program.ts";
import { startProgress } from "./progress.ts";
import { shownPath } from "./shown-path.ts";

/** A run that adds what its results folder lacks, as its command shows it. */
export interface ShownRun {
  readonly folder: string;
  /** What is added, in the plural: `steps`. */
  readonly what: string;
  /** Says nothing when it is interrupted: another process does. */
  readonly isQuiet?: boolean;
}

export interface ShownOptions extends ResumeOptions {
  readonly signal: AbortSignal;
  readonly onNote: (note: string) => void;
}

/**
 * Adds what a results folder lacks, and shows how far that is. `run` may ask what is `kept` until then: undefined before anything is planned.
 *
 * @throws Interrupted, with what is kept there, after Ctrl-C.
 */
export async function resumeShown<T>(
  { folder, what, isQuiet = false }: ShownRun,
  { output, args }: CommandContext,
  run: (options: ShownOptions, kept: () => string | undefined) => Promise<T>,
): Promise<T> {
  const progress = await startProgress(output);
  let [trials, allTrials] = [0, 0];
  const keptText = () =>
    `${trials} of ${allTrials} ${what} are kept in ${shownPath(folder)}; the same command goes on from there`;
  try {
    return await interruptible(
      () => (isQuiet ? "" : `interrupted: ${keptText()}`),
      (signal) => {
        const options: ShownOptions = {
          ...{ folder, signal, arguments: args },
          onNote: (note) => progress.note(note),
          onProgress: (state) => {
            ({ trials, allTrials } = state);
            progress.update(state.done, `${trials}/${allTrials} ${state.label}`);
          },
        };
        return run(options, () => (allTrials === 0 ? undefined : keptText()));
      },
    );
  } finally {
    progress.stop();
  }
}
