/**
 * An ONNX model of one Attention operator (ai.onnx, opset 23) in float32, written out as protobuf (onnx.proto3 of ONNX 1.18;
 * field numbers beside the names below).
 *
 * Inputs: `q` [1, heads, tokens, headDim], `k` and `v` [1, kvHeads, tokens, headDim]; where `masking` is `mask`, also `mask`
 * [tokens, tokens], true where a query may see a key. Where it is `causal` the operator's own attribute says so, and with
 * `none` every query sees every key. Outputs: `o` as `q`; with `scores`, also `scores` [1, heads, tokens, tokens], scaled and
 * masked, before the softmax.
 */
export function attentionModel({ heads, kvHeads, headDim, tokens, masking, scores }) {
  const float = 1;
  const bool = 9;
  const queries = [1, heads, tokens, headDim];
  const keys = [1, kvHeads, tokens, headDim];
  const node = message(
    ...["q", "k", "v", ...(masking === "mask" ? ["mask"] : [])].map((name) => text(1, name)), // input
    ...["o", ...(scores ? ["", "", "scores"] : [])].map((name) => text(2, name)), // output; no keys and values to be cached
    text(4, "Attention"), // op_type
    ...(masking === "causal" ? [bytes(5, integerAttribute("is_causal", 1))] : []),
    ...(scores ? [bytes(5, integerAttribute("qk_matmul_output_mode", 1))] : []),
  );
  const graph = message(
    bytes(1, node),
    text(2, "attention"),
    ...[value("q", float, queries), value("k", float, keys), value("v", float, keys)].map((input) => bytes(11, input)),
    ...(masking === "mask" ? [bytes(11, value("mask", bool, [tokens, tokens]))] : []),
    bytes(12, value("o", float, queries)),
    ...(scores ? [bytes(12, value("scores", float, [1, heads, tokens, tokens]))] : []),
  );
  const opset = message(text(1, ""), integer(2, 23));
  return message(integer(1, 10), bytes(7, graph), bytes(8, opset)); // ir_version, graph, opset_import
}

function integerAttribute(name, number) {
  return message(text(1, name), integer(3, number), integer(20, 2)); // i, type INT
}

/** ValueInfoProto: a tensor's name, element type and shape. */
function value(name, elementType, shape) {
  const dimensions = message(...shape.map((size) => bytes(1, message(integer(1, size)))));
  const tensor = message(integer(1, elementType), bytes(2, dimensions));
  return message(text(1, name), bytes(2, message(bytes(1, tensor))));
}

function message(...fields) {
  return Buffer.concat(fields);
}

function integer(field, number) {
  return Buffer.concat([varint(field * 8), varint(number)]);
}

function bytes(field, content) {
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
}

function text(field, string) {
  return bytes(field, Buffer.from(string));
}

function varint(number) {
  const groups = [];
  for (let left = number; groups.length === 0 || left > 0; left = Math.floor(left / 128)) groups.push(left % 128);
  return Buffer.from(groups.map((group, i) => (i < groups.length - 1 ? group + 128 : group)));
}
