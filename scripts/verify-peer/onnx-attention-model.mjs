/**
 * An ONNX model of one node: the operator Attention of opset 23 on 4-D inputs (batch, heads, tokens, headDim), written as
 * protobuf by hand, because a model of one node needs no library.
 *
 * Field numbers: onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, ValueInfoProto, TypeProto). The operator: with
 * 4-D inputs the heads are read off the shapes; `is_causal` masks keys after the query; `scale` multiplies the scores (1 /
 * sqrt(headDim) where left out); a boolean `attn_mask` (tokens, tokens) is true where a pair attends.
 */
export function attentionModel({ heads, kvHeads, tokens, headDim, causal, masked }) {
  const inputs = [
    tensor("q", elementType.float, [1, heads, tokens, headDim]),
    tensor("k", elementType.float, [1, kvHeads, tokens, headDim]),
    tensor("v", elementType.float, [1, kvHeads, tokens, headDim]),
    ...(masked ? [tensor("mask", elementType.bool, [tokens, tokens])] : []),
  ];
  const node = message(
    ...["q", "k", "v", ...(masked ? ["mask"] : [])].map((name) => text(1, name)),
    text(2, "o"),
    text(4, "Attention"),
    bytes(5, message(text(1, "is_causal"), integer(3, causal ? 1 : 0), integer(20, attributeType.int))),
    bytes(5, message(text(1, "scale"), float(2, 1 / Math.sqrt(headDim)), integer(20, attributeType.float))),
  );
  const graph = message(
    bytes(1, node),
    text(2, "attention"),
    ...inputs.map((input) => bytes(11, input)),
    bytes(12, tensor("o", elementType.float, [1, heads, tokens, headDim])),
  );
  return message(integer(1, irVersion), bytes(7, graph), bytes(8, message(text(1, ""), integer(2, opset))));
}

const irVersion = 10;
const opset = 23;
const elementType = { float: 1, bool: 9 };
const attributeType = { float: 1, int: 2 };

function tensor(name, type, shape) {
  const dimensions = shape.map((size) => bytes(1, message(integer(1, size))));
  return message(
    text(1, name),
    bytes(2, message(bytes(1, message(integer(1, type), bytes(2, message(...dimensions)))))),
  );
}

const wire = { varint: 0, lengthDelimited: 2, fixed32: 5 };

const message = (...fields) => Buffer.concat(fields);
const integer = (field, value) => Buffer.concat([varint((field << 3) | wire.varint), varint(value)]);
const bytes = (field, value) =>
  Buffer.concat([varint((field << 3) | wire.lengthDelimited), varint(value.length), value]);
const text = (field, value) => bytes(field, Buffer.from(value, "utf8"));

function float(field, value) {
  const fixed = Buffer.alloc(4);
  fixed.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | wire.fixed32), fixed]);
}

/** A whole number of at least 0 and below 2^31 in groups of 7 bits, the lowest first. */
function varint(value) {
  const groups = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...groups, rest]);
    groups.push((rest & 0x7f) | 0x80);
  }
}
