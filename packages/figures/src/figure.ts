/** A drawn figure and the numbers that it shows. */
export interface Figure {
  /** Its number in the paper. */
  readonly number: number;
  readonly name: string;
  readonly svg: string;
  /** What the figure shows, as a file to put beside it. */
  readonly data: { readonly ending: "csv" | "json"; readonly text: string };
}
