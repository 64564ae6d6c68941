#include "memory/rank_memory.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "transport/strided_copy.h"

namespace hsap {

namespace {

// lse and delta hold one number for each row: delta = sum of dO * o over its columns.
void fillDelta(const InputSource& inputs, const AttentionProblem& problem, const float* savedO, const Box& box,
               const View& target) {
  std::vector<float> dO(problem.headDim);
  const View row{dO.data(), 0, problem.headDim};
  for (std::int32_t head = box.headBegin; head < box.headEnd; ++head) {
    for (std::int32_t token = box.tokenBegin; token < box.tokenEnd; ++token) {
      inputs.fill(InputTensor::dO, row, token, token + 1, head, head + 1, problem.headDim);
      const float* o = savedO + (head * problem.tokens() + token) * problem.headDim;
      double sum = 0;
      for (std::int32_t column = 0; column < problem.headDim; ++column) sum += static_cast<double>(dO[column]) * o[column];
      target.data[(head - box.headBegin) * target.headStride + (token - box.tokenBegin) * target.tokenStride] =
          static_cast<float>(sum);
    }
  }
}

// Where elements are not stored as fp32, a row at a time is made in fp32 and rounded.
void generateBlock(const InputSource& inputs, InputTensor tensor, const Box& box, std::int32_t width, const BlockView& target) {
  if (target.type == ElementType::fp32) {
    inputs.fill(tensor, target.as<float>(), box.tokenBegin, box.tokenEnd, box.headBegin, box.headEnd, width);
    return;
  }
  std::vector<float> values(width);
  const View row{values.data(), 0, width};
  for (std::int32_t head = box.headBegin; head < box.headEnd; ++head) {
    for (std::int32_t token = box.tokenBegin; token < box.tokenEnd; ++token) {
      inputs.fill(tensor, row, token, token + 1, head, head + 1, width);
      copyBlock(target.at(token - box.tokenBegin, head - box.headBegin), row, 1, 1, width, true);
    }
  }
}

const float* saved(const float* values, const char* name) {
  if (values == nullptr) throw std::runtime_error(std::string("no ") + name + " of the forward pass is given");
  return values;
}

// A whole tensor [head][row][width], seen from the box's first element.
View globalView(float* data, std::int64_t rows, const Box& box, std::int32_t width) {
  return {data + (box.headBegin * rows + box.tokenBegin) * width, rows * width, width};
}

}  // namespace

RankMemory::RankMemory(const Program& program, std::int32_t rank, const std::vector<bool>& ownMemory)
    : program_(program),
      firstRegion_(program.rank.regionBegin[rank]),
      arena_(static_cast<std::size_t>(program.rank.arenaBytes[rank])) {
  for (std::int32_t region = firstRegion_; region < program.rank.regionBegin[rank + 1]; ++region) {
    const std::int32_t tensor = program.region.tensor[region], width = program.tensor.width[tensor];
    std::byte* data = arena_.data() + static_cast<std::size_t>(program.region.offset[region]);
    views_.emplace_back(data, std::ptrdiff_t{program.regionBox(region).tokens()} * width, width, program.storedTypeOf(tensor));
    stable_.push_back(ownMemory[region] && program.tensor.role[tensor] == 0);
  }
  // Only what no op writes stays as it was filled. Of the ops that may write an input, a receive writes all its operands, the
  // others their first.
  for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) {
    const OpKind kind = program.kindOf(row);
    if (kind != OpKind::recv && kind != OpKind::copy && kind != OpKind::reduce) continue;
    const std::int32_t begin = program.op.operandBegin[row],
                       end = kind == OpKind::recv ? program.op.operandBegin[row + 1] : begin + 1;
    for (std::int32_t i = begin; i < end; ++i) stable_[program.operand.region[i] - firstRegion_] = false;
  }
}

BlockView RankMemory::view(std::int32_t operandRow) const {
  return viewAt(program_.operand.region[operandRow], program_.operand.tokenBegin[operandRow],
                program_.operand.headBegin[operandRow]);
}

BlockView RankMemory::viewAt(std::int32_t region, std::int32_t token, std::int32_t head) const {
  return views_[region - firstRegion_].at(token - program_.region.tokenBegin[region], head - program_.region.headBegin[region]);
}

void RankMemory::alias(std::int32_t region, const BlockView& view) {
  views_[region - firstRegion_] = view;
  stable_[region - firstRegion_] = true;
}

void RankMemory::touch(bool alias) const {
  constexpr std::size_t page = 4096;
  for (std::size_t i = 0; i < views_.size(); ++i) {
    const std::int32_t region = firstRegion_ + static_cast<std::int32_t>(i);
    if (alias && (program_.region.flags[region] & regionHandedOver) != 0) continue;
    const auto bytes = static_cast<std::size_t>(program_.heldBytes(region));
    for (std::size_t at = 0; at < bytes; at += page) views_[i].data[at] = std::byte{0};
    views_[i].data[bytes - 1] = std::byte{0};
  }
}

void RankMemory::setEmpty(std::int32_t region) const {
  const std::int32_t tensor = program_.region.tensor[region];
  const bool isLse = program_.tensor.code[tensor] == static_cast<std::int32_t>(TensorCode::lse);
  const Box box = program_.regionBox(region);
  const std::size_t count = static_cast<std::size_t>(box.tokens()) * box.heads() * program_.tensor.width[tensor];
  std::fill_n(views_[region - firstRegion_].as<float>().data, count, isLse ? -std::numeric_limits<float>::infinity() : 0.0f);
}

template <typename Visit>
void RankMemory::eachOwnedBox(std::uint8_t role, Visit visit) const {
  const auto& owned = program_.owned;
  for (std::size_t i = 0; i < owned.region.size(); ++i) {
    const std::int32_t region = owned.region[i];
    if (region < firstRegion_ || region >= firstRegion_ + static_cast<std::int32_t>(views_.size())) continue;
    if (program_.tensor.role[program_.region.tensor[region]] != role) continue;
    visit(region,
          Box{owned.tokenBegin[i], owned.tokenEnd[i], program_.region.headBegin[region], program_.region.headEnd[region]});
  }
}

void RankMemory::fillInputs(const RunOptions& options, ThreadTeam& team, const std::function<void()>& checkpoint) const {
  constexpr std::int32_t step = 1024;
  std::vector<std::pair<std::int32_t, Box>> owned, pieces;
  eachOwnedBox(0, [&](std::int32_t region, const Box& box) { owned.emplace_back(region, box); });
  // What is resident may be owned as well; no two threads write the same rows.
  std::sort(owned.begin(), owned.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second.tokenBegin < b.second.tokenBegin;
  });
  std::int32_t last = -1, filled = 0;
  for (const auto& [region, box] : owned) {
    std::int32_t begin = region == last ? std::max(filled, box.tokenBegin) : box.tokenBegin;
    filled = region == last ? std::max(filled, box.tokenEnd) : box.tokenEnd;
    last = region;
    for (; begin < box.tokenEnd; begin += step)
      pieces.push_back({region, {begin, std::min(box.tokenEnd, begin + step), box.headBegin, box.headEnd}});
  }
  team.forPieces(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t piece, std::int32_t) {
    checkpoint();
    fillInput(pieces[piece].first, pieces[piece].second, options);
  });
}

void RankMemory::fillInput(std::int32_t region, const Box& box, const RunOptions& options) const {
  const AttentionProblem& problem = program_.problem;
  const std::int32_t width = program_.tensor.width[program_.region.tensor[region]];
  const BlockView target = viewAt(region, box.tokenBegin, box.headBegin);
  const auto generate = [&](InputTensor tensor) { generateBlock(options.inputs, tensor, box, width, target); };
  const std::int32_t tensor = program_.region.tensor[region];
  if (float* given = options.tensor(tensor))
    return copyBlock(target, globalView(given, program_.rowsOf(tensor), box, width), box.tokens(), box.heads(), width, false);
  switch (static_cast<TensorCode>(program_.tensor.code[tensor])) {
    case TensorCode::q:
      return generate(InputTensor::q);
    case TensorCode::k:
      return generate(InputTensor::k);
    case TensorCode::v:
      return generate(InputTensor::v);
    case TensorCode::dO:
      return generate(InputTensor::dO);
    case TensorCode::lse: {
      // The source is only read: copyBlock takes views, and views do not tell const apart.
      const View source = globalView(const_cast<float*>(saved(options.savedLse, "lse")), problem.tokens(), box, 1);
      return copyBlock(target, source, box.tokens(), box.heads(), 1, false);
    }
    case TensorCode::delta:
      return fillDelta(options.inputs, problem, saved(options.savedO, "o"), box, target.as<float>());
    default:
      throw ProgramError("corrupt program: tensor code " + std::to_string(program_.tensor.code[program_.region.tensor[region]]) +
                         " is not an input the engine can make");
  }
}

void RankMemory::gatherOutputs(const RunOptions& options, const RunOutputs& outputs) const {
  eachOwnedBox(1, [&](std::int32_t region, const Box& box) {
    const std::int32_t tensor = program_.region.tensor[region], width = program_.tensor.width[tensor];
    float* given = options.tensor(tensor);
    float* data = given != nullptr ? given : outputs.of(static_cast<TensorCode>(program_.tensor.code[tensor]));
    if (data == nullptr) return;
    copyBlock(globalView(data, program_.rowsOf(tensor), box, width), viewAt(region, box.tokenBegin, box.headBegin), box.tokens(),
              box.heads(), width, false);
  });
}

}  // namespace hsap
