import { modelNamed } from "@hsap/model";
import { packedBatch, seededRandom } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { initialParameters, referenceStep } from "../src/index.ts";

const model = { ...modelNamed("tiny"), hidden: 12, heads: 4, kvHeads: 2, headDim: 6, ffn: 20, vocabulary: 11 };
const batch = packedBatch([4, 1, 6]);
const ids = Int32Array.from([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]);

/** Weights large enough for every part of the model to matter. */
function parameters() {
  const random = seededRandom(5);
  return new Map([...initialParameters(model, 1)].map(([key, values]) => [key, values.map(() => random() - 0.5)]));
}

describe("the float64 reference step", () => {
  it("has the gradients that differences of its loss show", () => {
    const given = parameters();
    const { gradients } = referenceStep(model, given, ids, batch);
    const random = seededRandom(7);
    for (const [key, gradient] of gradients) {
      for (let trial = 0; trial < 6; trial++) {
        const i = Math.floor(random() * gradient.length);
        const lossWith = (step: number) => {
          const moved = Float32Array.from(given.get(key) as Float32Array);
          moved[i] += step;
          return { at: moved[i], loss: referenceStep(model, new Map([...given, [key, moved]]), ids, batch).loss };
        };
        const [above, below] = [lossWith(1e-3), lossWith(-1e-3)];
        const slope = (above.loss - below.loss) / (above.at - below.at);
        expect(Math.abs(slope - gradient[i]), `${key}[${i}]: ${gradient[i]}`).toBeLessThan(
          1e-5 + 1e-4 * Math.abs(slope),
        );
      }
    }
  });

  it("starts positions anew in every document, and predicts nothing across a border", () => {
    const given = parameters();
    const alone = (from: number, to: number) =>
      referenceStep(model, given, ids.slice(from, to), packedBatch([to - from])).loss * (to - from - 1);
    const { loss } = referenceStep(model, given, ids, batch);
    // 3 + 5 tokens have a successor in their document.
    expect(loss * 8).toBeCloseTo(alone(0, 4) + alone(5, 11), 10);
  });
});
