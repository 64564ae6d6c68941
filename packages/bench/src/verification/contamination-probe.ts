import { attentionTensors, type Problem } from "@hsap/schedule";
import { documentsOf } from "@hsap/workload";

/** Outputs by tensor, each [head][token][width]. */
export type Outputs = Readonly<Record<string, Float32Array>>;

/** What changed when every token of one document was replaced. */
export interface ProbeResult {
  /** Documents other than the perturbed one whose outputs changed in any bit. */
  readonly documents: readonly number[];
  /** (tensor, head, token) rows of those documents that changed. */
  readonly rows: number;
  /** The perturbed document's own outputs changed; otherwise the probe shows nothing. */
  readonly effective: boolean;
}

/** Compares the outputs of two runs that differ in the inputs of document `perturbed` only, bit by bit, NaNs included. */
export function contaminationOf(problem: Problem, perturbed: number, before: Outputs, after: Outputs): ProbeResult {
  const { cuSeqlens } = problem.batch;
  const tokens = cuSeqlens[cuSeqlens.length - 1];
  const changed = new Array<number>(documentsOf(problem.batch)).fill(0);
  for (const { name, role, heads, width } of attentionTensors(problem)) {
    if (role !== "output") continue;
    const a = bitsOf(before[name]);
    const b = bitsOf(after[name]);
    for (let document = 0; document < changed.length; document++) {
      for (let head = 0; head < heads; head++) {
        const begin = head * tokens + cuSeqlens[document];
        const end = head * tokens + cuSeqlens[document + 1];
        for (let row = begin; row < end; row++) if (rowDiffers(a, b, row * width, width)) changed[document]++;
      }
    }
  }
  const others = changed.flatMap((rows, document) => (document !== perturbed && rows > 0 ? [document] : []));
  return {
    documents: others,
    rows: others.reduce((sum, document) => sum + changed[document], 0),
    effective: changed[perturbed] > 0,
  };
}

function rowDiffers(a: Uint32Array, b: Uint32Array, begin: number, width: number): boolean {
  for (let i = begin; i < begin + width; i++) if (a[i] !== b[i]) return true;
  return false;
}

function bitsOf({ buffer, byteOffset, length }: Float32Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, length);
}
