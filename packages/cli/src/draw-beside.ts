import type { CommandContext } from "./program.ts";
import { shownPath } from "./shown-path.ts";

/** Draws the figures of a results folder beside its trials, and says where they are. */
export async function drawBeside(folder: string, { output }: CommandContext): Promise<void> {
  // Loaded only by who draws: it takes longer than most commands.
  const { drawInto } = await import("./commands/figures.ts");
  for (const file of drawInto(folder)) output.err(`drew ${shownPath(file)}\n`);
}
