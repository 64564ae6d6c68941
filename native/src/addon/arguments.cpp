#include "arguments.h"

namespace hsap::addon {

AttentionProblem problemFrom(const Napi::Object& problem) {
  return {intAt(problem, "heads"),
          intAt(problem, "kvHeads"),
          intAt(problem, "headDim"),
          boolAt(problem, "bf16"),
          boolAt(problem, "causal"),
          boolAt(problem, "backward"),
          columnAt<std::int32_t>(problem, "cuSeqlens")};
}

InputSource inputsFrom(const Napi::Object& options, bool bf16) {
  InputSource inputs{seedAt(options, "seed"), std::nullopt, bf16};
  if (options.Has("perturb")) {
    const Napi::Object perturb = objectAt(options, "perturb");
    inputs.perturbation = Perturbation{intAt(perturb, "tokenBegin"), intAt(perturb, "tokenEnd"), seedAt(perturb, "seed")};
  }
  return inputs;
}

Program programFrom(const Napi::Object& tables, const Napi::Object& problem) {
  using std::int32_t, std::uint8_t;
  const Napi::Object rank = objectAt(tables, "rank"), tensor = objectAt(tables, "tensor"), region = objectAt(tables, "region"),
                     owned = objectAt(tables, "owned"), op = objectAt(tables, "op"), operand = objectAt(tables, "operand");
  Program program;
  program.problem = problemFrom(problem);
  program.rank = {columnAt<int32_t>(rank, "opBegin"), columnAt<int32_t>(rank, "regionBegin"),
                  columnAt<double>(rank, "arenaBytes")};
  program.tensor = {columnAt<int32_t>(tensor, "code"),  columnAt<int32_t>(tensor, "heads"),
                    columnAt<int32_t>(tensor, "width"), columnAt<uint8_t>(tensor, "dtype"),
                    columnAt<uint8_t>(tensor, "role"),  columnAt<uint8_t>(tensor, "accumulates"),
                    columnAt<int32_t>(tensor, "rows")};
  program.region = {
      columnAt<int32_t>(region, "tensor"),   columnAt<int32_t>(region, "part"),      columnAt<int32_t>(region, "tokenBegin"),
      columnAt<int32_t>(region, "tokenEnd"), columnAt<int32_t>(region, "headBegin"), columnAt<int32_t>(region, "headEnd"),
      columnAt<double>(region, "offset"),    columnAt<int32_t>(region, "flags"),     columnAt<int32_t>(region, "initOp")};
  program.owned = {columnAt<int32_t>(owned, "region"), columnAt<int32_t>(owned, "tokenBegin"),
                   columnAt<int32_t>(owned, "tokenEnd")};
  program.op = {columnAt<uint8_t>(op, "kind"),  columnAt<uint8_t>(op, "attribute"), columnAt<int32_t>(op, "peer"),
                columnAt<int32_t>(op, "group"), columnAt<int32_t>(op, "waitFor"),   columnAt<int32_t>(op, "operandBegin")};
  program.operand = {columnAt<int32_t>(operand, "region"), columnAt<int32_t>(operand, "tokenBegin"),
                     columnAt<int32_t>(operand, "tokenEnd"), columnAt<int32_t>(operand, "headBegin"),
                     columnAt<int32_t>(operand, "headEnd")};
  return program;
}

}  // namespace hsap::addon
