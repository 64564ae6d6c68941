/** The emulated cluster cannot be had or used. The message is one line that says what is wrong and what would be right. */
export class ClusterError extends Error {
  name = "ClusterError";
}
