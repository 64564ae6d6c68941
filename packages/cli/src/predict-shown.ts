import type { ResumeOptions } from "@hsap/bench";
import { interruptible } from "./interruption.ts";
import type { CommandContext } from "./program.ts";
import { startProgress } from "./progress.ts";
import { shownPath } from "./shown-path.ts";

/**
 * Predicts into a results folder and shows how far that is.
 *
 * @throws Interrupted, with what is kept there, after Ctrl-C.
 */
export async function predictShown<T>(
  folder: string,
  { output, args }: CommandContext,
  predict: (options: ResumeOptions) => Promise<T>,
): Promise<T> {
  const progress = await startProgress(output);
  let [trials, allTrials] = [0, 0];
  const kept = () =>
    `interrupted: ${trials} of ${allTrials} steps are kept in ${shownPath(folder)}; the same command goes on from there`;
  try {
    return await interruptible(kept, (signal) =>
      predict({
        ...{ folder, signal, arguments: args },
        onNote: (note) => progress.note(note),
        onProgress: (state) => {
          ({ trials, allTrials } = state);
          progress.update(state.done, `${trials}/${allTrials} ${state.label}`);
        },
      }),
    );
  } finally {
    progress.stop();
  }
}
