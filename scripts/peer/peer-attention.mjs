import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { packages } from "../setup/packages.mjs";
import { stepRunner } from "../setup/run-step.mjs";
import { attentionModel } from "./attention-model.mjs";

const place = fileURLToPath(new URL(".", import.meta.url));

/** Installs ONNX Runtime (about 290 MB) beside this file, where only the check against it looks, if it is not there. */
export async function installPeer(say) {
  // Its install script would download another build of it, for GPUs; the package already holds the one for CPUs.
  const run = stepRunner(place);
  const quiet = (program, options) => run(program, options, { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" });
  if (!packages.isFresh(place)) await packages.make(place, say, quiet);
}

/**
 * Attention inside documents by ONNX Runtime's Attention operator on the CPU, in float32.
 *
 * @returns `o` [heads][tokens][headDim] and `lse` [heads][tokens], the latter summed here from the operator's masked scores
 */
export async function peerAttention({ shape, cuSeqlens, causal, q, k, v }) {
  const peer = await openPeer({ shape, cuSeqlens, causal, q, k, v, scores: true });
  const { o, scores } = await peer.run();
  await peer.release();
  const tokens = cuSeqlens[cuSeqlens.length - 1];
  return { o: o.data, lse: logSumExp(scores.data, documentMask(cuSeqlens, causal), shape.heads, tokens) };
}

/**
 * The operator with its inputs, ready to `run()` any number of times, on one thread. A single document needs no mask: the
 * operator is told that it is causal, or nothing; a pack goes through a boolean mask. `release()` frees it.
 */
export async function openPeer({ shape, cuSeqlens, causal, q, k, v, scores = false }) {
  const { InferenceSession, Tensor } = load();
  const tokens = cuSeqlens[cuSeqlens.length - 1];
  const { heads, kvHeads, headDim } = shape;
  const masking = cuSeqlens.length > 2 ? "mask" : causal ? "causal" : "none";
  const model = attentionModel({ heads, kvHeads, headDim, tokens, masking, scores });
  const session = await InferenceSession.create(model, {
    executionProviders: ["cpu"],
    executionMode: "sequential",
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  const inputs = {
    q: new Tensor("float32", q, [1, heads, tokens, headDim]),
    k: new Tensor("float32", k, [1, kvHeads, tokens, headDim]),
    v: new Tensor("float32", v, [1, kvHeads, tokens, headDim]),
  };
  if (masking === "mask") inputs.mask = new Tensor("bool", documentMask(cuSeqlens, causal), [tokens, tokens]);
  return { run: () => session.run(inputs), release: () => session.release() };
}

function load() {
  const require = createRequire(path.join(place, "package.json"));
  if (!existsSync(path.join(place, "node_modules/onnxruntime-node"))) throw new Error("installPeer first");
  return require("onnxruntime-node");
}

/** [tokens][tokens]: 1 where the query (row) may see the key (column). */
function documentMask(cuSeqlens, causal) {
  const tokens = cuSeqlens[cuSeqlens.length - 1];
  const mask = new Uint8Array(tokens * tokens);
  for (let document = 0; document + 1 < cuSeqlens.length; ++document) {
    for (let query = cuSeqlens[document]; query < cuSeqlens[document + 1]; ++query) {
      const end = causal ? query + 1 : cuSeqlens[document + 1];
      mask.fill(1, query * tokens + cuSeqlens[document], query * tokens + end);
    }
  }
  return mask;
}

function logSumExp(scores, mask, heads, tokens) {
  return Float64Array.from({ length: heads * tokens }, (_, row) => {
    const query = row % tokens;
    const seen = scores.subarray(row * tokens, (row + 1) * tokens).filter((_, key) => mask[query * tokens + key]);
    const max = seen.reduce((a, b) => Math.max(a, b));
    return max + Math.log(seen.reduce((sum, score) => sum + Math.exp(score - max), 0));
  });
}
