#include "tile_batch.h"

#include <algorithm>

namespace hsap {

namespace {

// Queries are split in multiples of this, so that only the last piece has ragged blocks.
constexpr std::int64_t queryStep = 192;

double workOf(const Tile& tile) { return static_cast<double>(unmaskedPairs(tile)) * tile.heads * tile.headDim; }

void shift(View& view, std::ptrdiff_t heads, std::ptrdiff_t tokens) {
  if (view.data != nullptr) view.data += heads * view.headStride + tokens * view.tokenStride;
}

void shiftQueries(Tile& tile, std::ptrdiff_t heads, std::ptrdiff_t tokens) {
  for (View* view : {&tile.q, &tile.o, &tile.lse, &tile.dO, &tile.delta, &tile.dq}) shift(*view, heads, tokens);
  tile.causalOffset += tokens;
}

void shiftKvHeads(Tile& tile, std::ptrdiff_t heads) {
  for (View* view : {&tile.k, &tile.v, &tile.dk, &tile.dv}) shift(*view, heads, 0);
}

}  // namespace

std::int64_t unmaskedPairs(const Tile& tile) {
  const std::int64_t queries = tile.qTokens, keys = tile.kTokens, offset = tile.causalOffset;
  if (tile.mask == Mask::full) return queries * keys;
  // Query i sees min(i + offset + 1, keys) keys: none, then a ramp, then all.
  const std::int64_t rampBegin = std::clamp<std::int64_t>(-offset, 0, queries);
  const std::int64_t rampEnd = std::clamp<std::int64_t>(keys - offset - 1, rampBegin, queries);
  const std::int64_t ramp = (rampEnd - rampBegin) * (rampBegin + offset + 1 + rampEnd + offset) / 2;
  return ramp + (queries - rampEnd) * keys;
}

void TileBatch::run(const std::vector<std::int32_t>& rows) {
  for (const std::int32_t row : rows) {
    const Tile tile = tileOf(row);
    const double work = workOf(tile);
    if (work > context_.options.pieceWork) {
      runPiece();
      runLarge(row, tile);
      continue;
    }
    if (pieceWork_ + work > context_.options.pieceWork) runPiece();
    rows_.push_back(row);
    tiles_.push_back(tile);
    work_.push_back(work);
    pieceWork_ += work;
  }
  runPiece();
}

Tile TileBatch::tileOf(std::int32_t row) const {
  const Program& program = context_.program;
  const std::int32_t first = program.op.operandBegin[row];
  const Box q = program.operandBox(first), k = program.operandBox(first + 1);
  const auto view = [&](std::int32_t i) { return context_.memory.view(first + i); };
  Tile tile;
  tile.q = view(0), tile.k = view(1), tile.v = view(2);
  if (program.problem.backward) {
    tile.dO = view(3), tile.lse = view(4), tile.delta = view(5);
    tile.dq = view(6), tile.dk = view(7), tile.dv = view(8);
  } else {
    tile.o = view(3), tile.lse = view(4);
  }
  tile.qTokens = q.tokens(), tile.kTokens = k.tokens(), tile.heads = q.heads();
  tile.headDim = program.widthOf(first);
  tile.groupSize = program.tensor.heads[program.tensorOf(first)] / program.tensor.heads[program.tensorOf(first + 1)];
  tile.groupOffset = q.headBegin - k.headBegin * tile.groupSize;
  tile.causalOffset = std::int64_t{q.tokenBegin} - k.tokenBegin;
  tile.mask = static_cast<Mask>(program.op.attribute[row]);
  return tile;
}

void TileBatch::call(const Tile* tiles, std::size_t count) {
  context_.state.checkpoint();
  (context_.program.problem.backward ? kernels_.backward : kernels_.forward)(tiles, count, scratch_);
}

void TileBatch::runPiece() {
  if (rows_.empty()) return;
  const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs();
  call(tiles_.data(), tiles_.size());
  const double busyUs = threadTimeUs() - busyBefore, durationUs = context_.state.nowUs() - beginUs;
  double done = 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const double share = pieceWork_ > 0 ? work_[i] / pieceWork_ : 1.0 / static_cast<double>(rows_.size());
    context_.record(rows_[i], beginUs + done * durationUs, beginUs + std::min(1.0, done + share) * durationUs, share * busyUs);
    done += share;
  }
  rows_.clear(), tiles_.clear(), work_.clear();
  pieceWork_ = 0;
}

void TileBatch::runLarge(std::int32_t row, const Tile& tile) {
  const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs();
  const double workPerHead = workOf(tile) / tile.heads;
  for (std::int32_t head = 0; head < tile.heads;) {
    const std::int32_t kvHead = (head + tile.groupOffset) / tile.groupSize;
    const std::int32_t end = std::min(tile.heads, (kvHead + 1) * tile.groupSize - tile.groupOffset);
    Tile part = tile;
    shiftQueries(part, head, 0);
    shiftKvHeads(part, kvHead);
    part.groupOffset = (head + tile.groupOffset) % tile.groupSize;
    part.heads = end - head;
    runQueries(part, workPerHead * part.heads);
    head = end;
  }
  context_.record(row, beginUs, context_.state.nowUs(), threadTimeUs() - busyBefore);
}

void TileBatch::runQueries(const Tile& heads, double work) {
  const double perQuery = work / heads.qTokens;
  const auto steps = static_cast<std::int64_t>(context_.options.pieceWork / perQuery / queryStep);
  const std::int64_t queries = std::max<std::int64_t>(1, steps) * queryStep;
  for (std::int64_t begin = 0; begin < heads.qTokens; begin += queries) {
    Tile part = heads;
    shiftQueries(part, 0, begin);
    part.qTokens = static_cast<std::int32_t>(std::min(queries, heads.qTokens - begin));
    call(&part, 1);
  }
}

}  // namespace hsap
