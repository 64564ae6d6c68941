import type { NativeJob } from "./addon.ts";
import { engineErrorOf } from "./engine-error.ts";

/**
 * Starts a job of the addon and waits for it, off the JavaScript thread.
 *
 * @throws the signal's reason if it is aborted before or meanwhile, otherwise the addon's error as an EngineError.
 */
export async function finished<Result>(
  start: () => NativeJob<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  signal?.throwIfAborted();
  let abort = () => {};
  try {
    const job = start();
    abort = job.abort;
    signal?.addEventListener("abort", abort, { once: true });
    return await job.promise;
  } catch (error) {
    signal?.throwIfAborted();
    throw engineErrorOf(error);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
