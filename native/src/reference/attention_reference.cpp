#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "hsap/reference.h"
#include "product.h"

namespace hsap::reference {

namespace {

using Matrix = std::vector<double>;  // row-major

// Queries are taken this many at a time, so that one pass over the keys serves several of them.
constexpr std::size_t blockRows = 32;

// One document and one kv head: all its keys and values in double, and where its tokens lie in the packed arrays.
struct Slice {
  std::size_t first, length, headDim, tokens;
  bool causal;
  const std::atomic<bool>* cancelled;
  Matrix k, v;                      // [length][headDim]
  Matrix kTransposed, vTransposed;  // [headDim][length]

  // How many keys query `i` of the document sees: its keys are always the first ones.
  std::size_t visibleKeys(std::size_t i) const { return causal ? i + 1 : length; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(headDim)); }
  // Index of element (token `i` of the document, head, column 0) of a packed [head][token][headDim] array.
  std::size_t at(std::size_t head, std::size_t i) const { return (head * tokens + first + i) * headDim; }
};

// Rows of softmax(q k' * scale) for the queries begin .. begin + rows of one head.
struct Probabilities {
  Matrix p;    // [rows][length], 0 where masked
  Matrix lse;  // [rows]
};

void check(const Problem& problem) {
  if (problem.kvHeads < 1 || problem.heads < 1 || problem.heads % problem.kvHeads != 0) {
    throw std::invalid_argument("invalid kvHeads: " + std::to_string(problem.kvHeads) + " (must divide " +
                                std::to_string(problem.heads) + " heads)");
  }
  if (problem.headDim < 1)
    throw std::invalid_argument("invalid headDim: " + std::to_string(problem.headDim) + " (must be at least 1)");
  if (problem.cuSeqlens == nullptr || problem.cuSeqlens[0] != 0)
    throw std::invalid_argument("invalid cuSeqlens (must start with 0)");
  for (std::size_t d = 0; d < problem.documents; ++d) {
    if (problem.cuSeqlens[d + 1] < problem.cuSeqlens[d]) {
      throw std::invalid_argument("invalid cuSeqlens: " + std::to_string(problem.cuSeqlens[d + 1]) + " after " +
                                  std::to_string(problem.cuSeqlens[d]) + " (must ascend)");
    }
  }
}

Matrix transpose(const Matrix& from, std::size_t rows, std::size_t columns) {
  Matrix to(from.size());
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
  return to;
}

Slice loadSlice(const Problem& problem, std::size_t document, std::size_t kvHead, const float* k, const float* v) {
  Slice slice{};
  slice.first = static_cast<std::size_t>(problem.cuSeqlens[document]);
  slice.length = static_cast<std::size_t>(problem.cuSeqlens[document + 1]) - slice.first;
  slice.headDim = static_cast<std::size_t>(problem.headDim);
  slice.tokens = static_cast<std::size_t>(problem.cuSeqlens[problem.documents]);
  slice.causal = problem.causal;
  slice.cancelled = problem.cancelled;
  const std::size_t begin = slice.at(kvHead, 0), end = begin + slice.length * slice.headDim;
  slice.k.assign(k + begin, k + end);
  slice.v.assign(v + begin, v + end);
  slice.kTransposed = transpose(slice.k, slice.length, slice.headDim);
  slice.vTransposed = transpose(slice.v, slice.length, slice.headDim);
  return slice;
}

Matrix loadRows(const Slice& slice, const float* packed, std::size_t head, std::size_t begin, std::size_t rows) {
  const float* from = packed + slice.at(head, begin);
  return Matrix(from, from + rows * slice.headDim);
}

// The textbook softmax in two passes over a row: its maximum, then its exponentials and their sum.
Probabilities softmaxRows(const Slice& slice, const Matrix& q, std::size_t begin, std::size_t rows) {
  if (slice.cancelled != nullptr && *slice.cancelled) throw Cancelled();
  const std::size_t keys = slice.visibleKeys(begin + rows - 1);
  Probabilities result{Matrix(rows * slice.length, 0.0), Matrix(rows)};
  addProduct(rows, keys, slice.headDim, q.data(), slice.headDim, slice.kTransposed.data(), slice.length, result.p.data(),
             slice.length);
  for (std::size_t r = 0; r < rows; ++r) {
    double* row = result.p.data() + r * slice.length;
    const std::size_t visible = slice.visibleKeys(begin + r);
    double largest = row[0] * slice.scale();
    for (std::size_t j = 0; j < visible; ++j) largest = std::max(largest, row[j] * slice.scale());
    double sum = 0.0;
    for (std::size_t j = 0; j < visible; ++j) {
      row[j] = std::exp(row[j] * slice.scale() - largest);
      sum += row[j];
    }
    for (std::size_t j = 0; j < visible; ++j) row[j] /= sum;
    for (std::size_t j = visible; j < slice.length; ++j) row[j] = 0.0;
    result.lse[r] = largest + std::log(sum);
  }
  return result;
}

// Calls task(document, kvHead) for every pair, on several threads. Tasks write disjoint outputs. The first exception is rethrown.
void forEachSlice(const Problem& problem, int threads, const std::function<void(std::size_t, std::size_t)>& task) {
  const std::size_t kvHeads = static_cast<std::size_t>(problem.kvHeads), count = problem.documents * kvHeads;
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failureMutex;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < count; i = next++) task(i / kvHeads, i % kvHeads);
    } catch (...) {
      const std::lock_guard lock(failureMutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void forward(const Problem& problem, const float* q, const float* k, const float* v, double* o, double* lse, int threads) {
  check(problem);
  const std::size_t groupSize = static_cast<std::size_t>(problem.heads / problem.kvHeads);
  forEachSlice(problem, threads, [&](std::size_t document, std::size_t kvHead) {
    const Slice slice = loadSlice(problem, document, kvHead, k, v);
    for (std::size_t head = kvHead * groupSize; head < (kvHead + 1) * groupSize; ++head) {
      for (std::size_t begin = 0; begin < slice.length; begin += blockRows) {
        const std::size_t rows = std::min(blockRows, slice.length - begin);
        const Probabilities block = softmaxRows(slice, loadRows(slice, q, head, begin, rows), begin, rows);
        double* out = o + slice.at(head, begin);
        std::fill(out, out + rows * slice.headDim, 0.0);
        addProduct(rows, slice.headDim, slice.visibleKeys(begin + rows - 1), block.p.data(), slice.length, slice.v.data(),
                   slice.headDim, out, slice.headDim);
        std::copy(block.lse.begin(), block.lse.end(), lse + head * slice.tokens + slice.first + begin);
      }
    }
  });
}

void backward(const Problem& problem, const float* q, const float* k, const float* v, const float* dO, double* dq, double* dk,
              double* dv, int threads) {
  check(problem);
  const std::size_t groupSize = static_cast<std::size_t>(problem.heads / problem.kvHeads);
  forEachSlice(problem, threads, [&](std::size_t document, std::size_t kvHead) {
    const Slice slice = loadSlice(problem, document, kvHead, k, v);
    const std::size_t d = slice.headDim, n = slice.length;
    double* dkSlice = dk + slice.at(kvHead, 0);
    double* dvSlice = dv + slice.at(kvHead, 0);
    std::fill(dkSlice, dkSlice + n * d, 0.0);
    std::fill(dvSlice, dvSlice + n * d, 0.0);
    for (std::size_t head = kvHead * groupSize; head < (kvHead + 1) * groupSize; ++head) {
      for (std::size_t begin = 0; begin < n; begin += blockRows) {
        const std::size_t rows = std::min(blockRows, n - begin), keys = slice.visibleKeys(begin + rows - 1);
        const Matrix qRows = loadRows(slice, q, head, begin, rows), dORows = loadRows(slice, dO, head, begin, rows);
        const Matrix p = softmaxRows(slice, qRows, begin, rows).p;

        // With o = p v: dv = p' dO and dp = dO v'.
        const Matrix pTransposed = transpose(p, rows, n);
        addProduct(keys, d, rows, pTransposed.data(), rows, dORows.data(), d, dvSlice, d);
        Matrix dp(rows * n, 0.0);
        addProduct(rows, keys, d, dORows.data(), d, slice.vTransposed.data(), n, dp.data(), n);

        // Through the softmax: ds = p * (dp - sum_j p_j dp_j), and the scores' scale.
        Matrix ds(rows * n, 0.0);
        for (std::size_t r = 0; r < rows; ++r) {
          double dot = 0.0;
          for (std::size_t j = 0; j < keys; ++j) dot += p[r * n + j] * dp[r * n + j];
          for (std::size_t j = 0; j < keys; ++j) ds[r * n + j] = p[r * n + j] * (dp[r * n + j] - dot) * slice.scale();
        }

        // With s = q k': dq = ds k and dk = ds' q.
        double* dqRows = dq + slice.at(head, begin);
        std::fill(dqRows, dqRows + rows * d, 0.0);
        addProduct(rows, d, keys, ds.data(), n, slice.k.data(), d, dqRows, d);
        const Matrix dsTransposed = transpose(ds, rows, n);
        addProduct(keys, d, rows, dsTransposed.data(), rows, qRows.data(), d, dkSlice, d);
      }
    }
  });
}

}  // namespace hsap::reference
