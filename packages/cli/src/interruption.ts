/** The user (Ctrl-C) or the system (SIGTERM) asked the run to end. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/**
 * Runs `work` with a signal that Ctrl-C and SIGTERM abort. The first lets the work end cleanly; a second one ends the process
 * at once.
 *
 * @throws Interrupted with `message` if the work ended because of it.
 */
export async function interruptible<T>(message: () => string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (controller.signal.aborted) throw new Interrupted(message(), { cause: error });
    throw error;
  } finally {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}
