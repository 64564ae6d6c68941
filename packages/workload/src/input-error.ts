/**
 * The user gave something that cannot be used. The message is one line, lower case, and carries the value and what
 * would be right: `invalid degree: 3 (must divide 8 ranks)`. The command line prints it alone and exits with 2.
 */
export class InputError extends Error {
  readonly code = "invalid-input";
  override readonly name = "InputError";
}
