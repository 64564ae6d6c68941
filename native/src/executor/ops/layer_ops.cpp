#include "ops/layer_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "ops/fp32_rows.h"
#include "ops/row_pieces.h"

namespace hsap {

namespace {

constexpr float normEpsilon = 1e-5f;
constexpr double rotaryBase = 10000;

// Rows whose gradients of a gain are added up by themselves; the order of these sums must not depend on threads.
constexpr std::int32_t gainRows = 256;
// Columns of the table whose gradients one thread adds up.
constexpr std::int64_t tableColumns = 256;
// The least multiply-adds of a piece of a product, and about the least rows or columns: what is packed serves that many.
constexpr double pieceProduct = 1 << 23;
constexpr std::int64_t pieceExtent = 192;

std::int64_t piecesOf(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

class LayerOp {
 public:
  LayerOp(const LayerKernels& kernels, const AttentionProblem& problem, const std::vector<LayerBlock>& blocks,
          LayerThreads& threads)
      : kernels_(kernels), problem_(problem), blocks_(blocks), threads_(threads) {}

  void run(OpKind kind) {
    switch (kind) {
      case OpKind::linear:
        return multiply(2, blocks_[0].matrix(), blocks_[1].matrix());
      case OpKind::linearInputGradient:
        return multiply(2, blocks_[0].matrix(), blocks_[1].matrix().transposed());
      case OpKind::linearWeightGradient:
        return multiply(2, blocks_[0].matrix().transposed(), blocks_[1].matrix());
      case OpKind::rmsNorm:
        return norm();
      case OpKind::rmsNormGradient:
        return normGradient();
      case OpKind::rotary:
        return turn(1);
      case OpKind::rotaryGradient:
        return turn(-1);
      case OpKind::swiglu:
        return eachRow({0, 1}, {2}, [&](const Sources& x, const Targets& y) { kernels_.swiglu(x[0], x[1], y[0], width(0)); });
      case OpKind::swigluGradient:
        return eachRow({0, 1, 2}, {3, 4}, [&](const Sources& x, const Targets& y) {
          kernels_.swigluGradient(x[0], x[1], x[2], y[0], y[1], width(0));
        });
      case OpKind::add:
        return eachRow({0}, {1}, [&](const Sources& x, const Targets& y) { kernels_.add(x[0], y[0], width(0)); });
      case OpKind::rowDot:
        return eachRow({0, 1}, {2}, [&](const Sources& x, const Targets& y) {
          *y[0] += static_cast<float>(kernels_.dot(x[0], x[1], width(0)));
        });
      case OpKind::embed:
        return embed();
      case OpKind::embedGradient:
        return embedGradient();
      case OpKind::crossEntropy:
        return crossEntropy();
      case OpKind::rowLogSumExp:
        return eachRow({0}, {1}, [&](const Sources& x, const Targets& y) {
          *y[0] += static_cast<float>(kernels_.logSumExp(x[0], width(0)));
        });
      case OpKind::splitCrossEntropy:
        return splitCrossEntropy();
      default:
        throw std::logic_error(std::string("not an op of a layer: ") + opKindName(kind));
    }
  }

 private:
  // Rows of an op's sources and of its targets, as fp32.
  using Sources = std::array<const float*, 3>;
  using Targets = std::array<float*, 2>;

  // For operands that must be fp32.
  float* at(std::int32_t block, std::int64_t row, std::int64_t group) const { return blocks_[block].row<float>(row, group); }
  std::int64_t width(std::int32_t block) const { return blocks_[block].width; }
  const Box& box(std::int32_t block) const { return blocks_[block].box; }

  // What an op sets is emptied first where it adds to it from several places.
  void clear(std::int32_t block, std::int32_t group, std::int64_t begin, std::int64_t end, std::int64_t columnBegin,
             std::int64_t columnEnd) const {
    if (blocks_[block].accumulates) return;
    for (std::int64_t i = begin; i < end; ++i)
      std::fill(at(block, i, group) + columnBegin, at(block, i, group) + columnEnd, 0.0f);
  }

  // Calls body(first row, end, thread's working memory) for pieces of `size` rows of a block.
  template <typename Body>
  void eachRange(std::int64_t rows, std::int64_t size, Body body) const {
    threads_.forPieces(piecesOf(rows, size), [&](std::int64_t piece, Scratch& scratch) {
      body(piece * size, std::min(rows, (piece + 1) * size), scratch);
    });
  }

  // Calls body(rows of the sources, rows of the targets) for all rows and groups of blocks that have the same ones.
  template <typename Body>
  void eachRow(std::initializer_list<std::int32_t> sources, std::initializer_list<std::int32_t> targets, Body body) const {
    const std::int32_t groups = box(0).heads();
    eachRange(box(0).tokens(), rowsOfPiece(groups * width(0)), [&](std::int64_t begin, std::int64_t end, Scratch&) {
      Fp32Rows rows(kernels_, blocks_);
      Sources from{};
      Targets to{};
      for (std::int32_t h = 0; h < groups; ++h) {
        for (std::int64_t i = begin; i < end; ++i) {
          if (i % 64 == 0) threads_.checkpoint();
          std::transform(sources.begin(), sources.end(), from.begin(),
                         [&](std::int32_t each) { return rows.source(each, i, h); });
          std::transform(targets.begin(), targets.end(), to.begin(), [&](std::int32_t each) { return rows.target(each, i, h); });
          body(from, to);
          for (const std::int32_t target : targets) rows.store(target, i, h);
        }
      }
    });
  }

  // Pieces are a grid of parts of the target, all along the contraction: each element is one thread's, in one order.
  void multiply(std::int32_t target, const Matrix& a, const Matrix& b) const {
    const Matrix c = blocks_[target].matrix();
    const double work = static_cast<double>(c.rows.count) * static_cast<double>(c.columns.count) * a.columns.count;
    const auto wanted = threads_.count() == 1 ? 1 : std::min(8.0 * threads_.count(), work / pieceProduct);
    std::int64_t down = 1, across = 1;
    while (static_cast<double>(down * across) < wanted) {
      const bool tall = c.rows.count / down > c.columns.count / across;
      if ((tall ? c.rows.count / down : c.columns.count / across) < 2 * pieceExtent) break;
      (tall ? down : across) *= 2;
    }
    // Whole panels, but for the last.
    const std::int64_t height = piecesOf(piecesOf(c.rows.count, down), 12) * 12;
    const std::int64_t width = piecesOf(piecesOf(c.columns.count, across), 32) * 32;
    down = piecesOf(c.rows.count, height), across = piecesOf(c.columns.count, width);
    threads_.forPieces(down * across, [&](std::int64_t piece, Scratch& scratch) {
      const std::int64_t row = piece / across * height, column = piece % across * width;
      const std::int64_t rows = std::min(height, c.rows.count - row), columns = std::min(width, c.columns.count - column);
      const Matrix part = c.someRows(row, rows).someColumns(column, columns);
      // The product sets what is bf16.
      if (!blocks_[target].accumulates && !blocks_[target].isBf16()) empty(part);
      const Checkpoint checkpoint{
          [](const void* threads) { static_cast<LayerThreads*>(const_cast<void*>(threads))->checkpoint(); }, &threads_};
      kernels_.multiplyAdd(part, a.someRows(row, rows), b.someColumns(column, columns), scratch, checkpoint);
    });
  }

  static void empty(const Matrix& c) {
    for (std::int64_t i = 0; i < c.rows.count; ++i) {
      for (std::int64_t j = 0; j < c.columns.count;) {
        const std::int64_t run = std::min(c.columns.count - j, c.columns.group - (c.columns.begin + j) % c.columns.group);
        std::fill_n(c.at<float>(i, j), run, 0.0f);
        j += run;
      }
    }
  }

  // A gain for each column of a row, as fp32.
  std::vector<float> gains() const {
    std::vector<float> gains(static_cast<std::size_t>(width(0)));
    Fp32Rows rows(kernels_, blocks_);
    for (std::size_t column = 0; column < gains.size(); ++column)
      gains[column] = *rows.source(1, static_cast<std::int64_t>(column), 0);
    return gains;
  }

  void norm() const {
    const std::vector<float> g = gains();
    eachRow({0}, {2}, [&](const Sources& x, const Targets& n) { kernels_.rmsNorm(x[0], g.data(), n[0], width(0), normEpsilon); });
  }

  void normGradient() const {
    const std::vector<float> g = gains();
    const std::int64_t count = box(0).tokens();
    std::vector<std::vector<double>> sums(static_cast<std::size_t>(piecesOf(count, gainRows)));
    eachRange(count, gainRows, [&](std::int64_t begin, std::int64_t end, Scratch&) {
      Fp32Rows rows(kernels_, blocks_);
      std::vector<double>& own = sums[static_cast<std::size_t>(begin / gainRows)];
      own.resize(static_cast<std::size_t>(width(0)));
      for (std::int64_t i = begin; i < end; ++i) {
        if (i % 64 == 0) threads_.checkpoint();
        kernels_.rmsNormGradient(rows.source(0, i, 0), g.data(), rows.source(2, i, 0), rows.target(3, i, 0), own.data(), width(0),
                                 normEpsilon);
        rows.store(3, i, 0);
      }
    });
    clear(4, 0, 0, width(0), 0, 1);
    for (std::int64_t column = 0; column < width(0); ++column) {
      double sum = 0;
      for (const std::vector<double>& own : sums) sum += own[static_cast<std::size_t>(column)];
      *at(4, column, 0) += static_cast<float>(sum);
    }
  }

  // Angles are taken in fp64: a position of a million times a frequency of one leaves fp32 no digit of the angle.
  void turn(float direction) const {
    const auto half = static_cast<std::size_t>(width(0) / 2);
    std::vector<double> frequencies(half);
    for (std::size_t i = 0; i < half; ++i)
      frequencies[i] = std::pow(rotaryBase, -static_cast<double>(i) / static_cast<double>(half));
    const std::int32_t heads = box(0).heads();
    eachRange(box(0).tokens(), rowsOfPiece(heads * width(0)), [&](std::int64_t begin, std::int64_t end, Scratch&) {
      std::vector<float> cosines(half), sines(half);
      Fp32Rows rows(kernels_, blocks_);
      const auto& cuSeqlens = problem_.cuSeqlens;
      for (auto i = static_cast<std::int32_t>(begin); i < end; ++i) {
        if (i % 64 == 0) threads_.checkpoint();
        const std::int32_t token = box(0).tokenBegin + i;
        const std::int32_t position = token - *(std::upper_bound(cuSeqlens.begin(), cuSeqlens.end(), token) - 1);
        for (std::size_t c = 0; c < half; ++c) {
          cosines[c] = static_cast<float>(std::cos(position * frequencies[c]));
          sines[c] = direction * static_cast<float>(std::sin(position * frequencies[c]));
        }
        for (std::int32_t h = 0; h < heads; ++h) {
          kernels_.turn(rows.source(0, i, h), rows.target(1, i, h), cosines.data(), sines.data(), width(0) / 2);
          rows.store(1, i, h);
        }
      }
    });
  }

  // The row of a table that a token's id names, counted from its block's first; none if the block does not have it.
  std::optional<std::int64_t> entryOf(std::int64_t row, const Box& table) const {
    const float id = *at(0, row, 0);
    // Compared as whole numbers: large ones have no fp32 of their own.
    if (!(id >= 0 && id <= 0x1p31f)) return std::nullopt;
    const auto entry = static_cast<std::int64_t>(id) - table.tokenBegin;
    return entry >= 0 && entry < table.tokens() ? std::optional(entry) : std::nullopt;
  }

  void embed() const {
    const Box& table = box(1);
    eachRange(box(0).tokens(), rowsOfPiece(table.heads() * width(1)), [&](std::int64_t begin, std::int64_t end, Scratch&) {
      Fp32Rows rows(kernels_, blocks_);
      for (std::int64_t i = begin; i < end; ++i) {
        if (i % 64 == 0) threads_.checkpoint();
        const auto entry = entryOf(i, table);
        for (std::int32_t h = 0; h < table.heads(); ++h) {
          float* to = rows.target(2, i, h);
          if (entry) kernels_.add(rows.source(1, *entry, h), to, width(1));
          rows.store(2, i, h);
        }
      }
    });
  }

  // Tokens add to the same rows of the table, so threads share its columns.
  void embedGradient() const {
    const Box& table = box(2);
    eachRange(width(1), tableColumns, [&](std::int64_t begin, std::int64_t end, Scratch&) {
      Fp32Rows rows(kernels_, blocks_);
      for (std::int32_t h = 0; h < table.heads(); ++h) clear(2, h, 0, table.tokens(), begin, end);
      for (std::int64_t i = 0; i < box(0).tokens(); ++i) {
        if (i % 64 == 0) threads_.checkpoint();
        const auto entry = entryOf(i, table);
        if (!entry) continue;
        for (std::int32_t h = 0; h < table.heads(); ++h)
          kernels_.add(rows.source(1, i, h) + begin, at(2, *entry, h) + begin, end - begin);
      }
    });
  }

  void crossEntropy() const {
    eachRange(box(0).tokens(), rowsOfPiece(width(0)), [&](std::int64_t begin, std::int64_t end, Scratch&) {
      clear(2, 0, begin, end, 0, width(2));
      Fp32Rows rows(kernels_, blocks_);
      std::vector<float> room(static_cast<std::size_t>(width(0)));
      for (std::int64_t i = begin; i < end; ++i) {
        threads_.checkpoint();
        const auto [label, weight] = labelOf(i, width(0));
        *at(2, i, 0) += kernels_.crossEntropy(rows.source(0, i, 0), rows.target(3, i, 0), room.data(), width(0), label, weight);
        rows.store(3, i, 0);
      }
    });
  }

  // The id and the weight of a token's label; an id of no weight is 0.
  std::pair<std::int64_t, float> labelOf(std::int64_t row, std::int64_t classes) const {
    const float label = at(1, row, 0)[0], weight = at(1, row, 0)[1];
    if (weight == 0) return {0, weight};
    if (!(label >= 0 && label < static_cast<float>(classes)))
      throw std::runtime_error("token " + std::to_string(box(1).tokenBegin + row) + " has label " + std::to_string(label) +
                               " (must be below " + std::to_string(classes) + ")");
    return {static_cast<std::int64_t>(label), weight};
  }

  // The columns of a rank that has some of them; whoever has the first ones adds what belongs to none.
  void splitCrossEntropy() const {
    const std::int32_t groups = box(0).heads(), firstGroup = box(0).headBegin;
    eachRange(box(0).tokens(), rowsOfPiece(groups * width(0)), [&](std::int64_t begin, std::int64_t end, Scratch&) {
      clear(3, 0, begin, end, 0, width(3));
      Fp32Rows rows(kernels_, blocks_);
      for (std::int64_t i = begin; i < end; ++i) {
        threads_.checkpoint();
        const auto [label, weight] = labelOf(i, box(2).heads() * width(0));
        const double whole = weight == 0 ? 0 : logSumExpOf(i);
        if (weight != 0 && firstGroup == 0) *at(3, i, 0) += static_cast<float>(weight * whole);
        for (std::int32_t h = 0; h < groups; ++h) {
          float* dlogits = rows.target(4, i, h);
          if (weight != 0) {
            const std::int64_t column = label - (firstGroup + h) * width(0);
            const bool isHere = column >= 0 && column < width(0);
            *at(3, i, 0) +=
                kernels_.crossEntropyShare(rows.source(0, i, h), dlogits, width(0), whole, isHere ? column : -1, weight);
          }
          rows.store(4, i, h);
        }
      }
    });
  }

  // That of a whole row, from those of its column groups.
  double logSumExpOf(std::int64_t row) const {
    double largest = *at(2, row, 0), sum = 0;
    for (std::int32_t h = 1; h < box(2).heads(); ++h) largest = std::max<double>(largest, *at(2, row, h));
    for (std::int32_t h = 0; h < box(2).heads(); ++h) sum += std::exp(*at(2, row, h) - largest);
    return largest + std::log(sum);
  }

  const LayerKernels& kernels_;
  const AttentionProblem& problem_;
  const std::vector<LayerBlock>& blocks_;
  LayerThreads& threads_;
};

}  // namespace

void runLayerOp(OpKind kind, const LayerKernels& kernels, const AttentionProblem& problem, const std::vector<LayerBlock>& blocks,
                LayerThreads& threads) {
  LayerOp(kernels, problem, blocks, threads).run(kind);
}

}  // namespace hsap
