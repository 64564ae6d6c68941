/**
 * The engine could not do what was asked. `code` says why:
 * - `addon-missing`: the native engine is not built or does not load;
 * - `invalid-argument`, `invalid-run`: an option or array that does not fit the problem;
 * - `corrupt-program`: the lowered schedule cannot be run (the message names rank and op);
 * - `unsupported-isa`: this processor, or this build, lacks the instruction set;
 * - `rank-failed`: a rank threw (the message names rank and op);
 * - `mpi-missing`: the mpi transport is not built, or this process joined no job; `mpi-failed`: MPI reports an error;
 * - `out-of-memory`, `engine-failed`: what their names say.
 */
export class EngineError extends Error {
  override readonly name = "EngineError";

  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The addon's errors carry a string code; anything else is passed on as it is. */
export function engineErrorOf(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return error;
  return new EngineError(error.code, error.message, { cause: error });
}
