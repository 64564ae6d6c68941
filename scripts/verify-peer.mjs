/**
 * Checks the float64 reference, which `npm run verify` measures every strategy against, by another implementation of
 * attention: ONNX Runtime's Attention operator on the CPU, in float32. Forward only; the operator has no gradient.
 *
 *     node scripts/verify-peer.mjs
 *
 * Prints a table of relative L2 errors and exits with 1 if one is above the limit.
 */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { clusterOf } from "@hsap/cluster";
import { referenceAttention } from "@hsap/engine";
import { mixPack, packedBatch, tokensOf } from "@hsap/workload";
import { installPeer, peerAttention } from "./peer/peer-attention.mjs";

/** Float32 sums of up to 512 terms err by some 1e-7; a wrong mask or scale errs by far more than this. */
const limit = 1e-6;

const shapes = [
  { heads: 1, kvHeads: 1, headDim: 64 },
  { heads: 4, kvHeads: 4, headDim: 128 },
  { heads: 4, kvHeads: 2, headDim: 80 },
  { heads: 6, kvHeads: 1, headDim: 96 },
  { heads: 2, kvHeads: 1, headDim: 256 },
];

const packs = [
  { name: "one document", batch: packedBatch([257]) },
  { name: "1, 7 and around powers", batch: packedBatch([1, 7, 15, 17, 31, 33, 127, 1, 129]) },
  { name: "hybrid", batch: mixPack("hybrid", { tokens: 512, seed: 1 }) },
  { name: "single tokens", batch: packedBatch(new Array(40).fill(1)) },
];

const { inputElement } = createRequire(import.meta.url)(
  fileURLToPath(new URL("../native/build/hsap.node", import.meta.url)),
);

await installPeer((line) => process.stderr.write(`verify:peer: ${line}\n`));

const rows = [];
for (const { name, batch } of packs) {
  for (const shape of shapes) {
    for (const mask of ["causal", "full"]) rows.push(await compare(name, batch, shape, mask, rows.length + 1));
  }
}
const wrong = rows.filter(({ errors }) => !(errors.o <= limit && errors.lse <= limit)).length;
printTable(rows);
console.log(`${rows.length - wrong} of ${rows.length} agree with ONNX Runtime within ${limit} (relative L2, forward)`);
process.exitCode = wrong === 0 ? 0 : 1;

async function compare(name, batch, shape, mask, seed) {
  const cluster = clusterOf({ ranks: 1 });
  const problem = { batch, shape: { ...shape, dtype: "fp32" }, cluster, mask, pass: "forward" };
  const reference = await referenceAttention({ problem, seed });
  const [q, k, v] = [shape.heads, shape.kvHeads, shape.kvHeads].map((heads, tensor) =>
    inputTensor(tensor, heads, tokensOf(batch), shape.headDim, seed),
  );
  const peer = await peerAttention({ shape, cuSeqlens: batch.cuSeqlens, causal: mask === "causal", q, k, v });
  const errors = { o: relativeL2(peer.o, reference.o), lse: relativeL2(peer.lse, reference.lse) };
  return { name, tokens: tokensOf(batch), shape, mask, errors };
}

/** [heads][tokens][headDim], as the engine generates it for itself: tensor 0 is q, 1 is k, 2 is v. */
function inputTensor(tensor, heads, tokens, headDim, seed) {
  return Float32Array.from({ length: heads * tokens * headDim }, (_, i) => {
    const token = Math.floor(i / headDim) % tokens;
    return inputElement(tensor, token, Math.floor(i / headDim / tokens), i % headDim, seed, false);
  });
}

function relativeL2(values, reference) {
  if (values.length !== reference.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < reference.length; ++i) {
    difference += (values[i] - reference[i]) ** 2;
    norm += reference[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

function printTable(rows) {
  const widths = [24, 7, 6, 8, 8, 7, 9, 9, 8];
  const line = (cells) => cells.map((cell, i) => String(cell)[i === 0 ? "padEnd" : "padStart"](widths[i])).join("");
  console.log(line(["# pack", "tokens", "heads", "kvHeads", "headDim", "mask", "o", "lse", "verdict"]));
  console.log(line(["#", "count", "count", "count", "count", "", "rel L2", "rel L2", ""]));
  for (const { name, tokens, shape, mask, errors } of rows) {
    const { heads, kvHeads, headDim } = shape;
    const verdict = errors.o <= limit && errors.lse <= limit ? "ok" : "WRONG";
    console.log(
      line([
        name,
        tokens,
        heads,
        kvHeads,
        headDim,
        mask,
        errors.o.toExponential(1),
        errors.lse.toExponential(1),
        verdict,
      ]),
    );
  }
}
