/** Set-up cannot go on. The message is one line that says what is missing or failed, and the remedy. */
export class SetupError extends Error {
  name = "SetupError";
}
