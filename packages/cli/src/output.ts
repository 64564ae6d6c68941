/** Where a command writes: results to `out`, progress and errors to `err`. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
  /** `err` is a terminal, so a line may be overwritten. */
  readonly terminal: boolean;
}

/** The process's own streams. A reader that goes away (`hsap compile --text | head`) ends the process quietly. */
export function processOutput(): Output {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      process.exit(process.exitCode ?? 0);
    });
  }
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    terminal: process.stderr.isTTY === true,
  };
}
