// What kernels allocate: one scratch per thread, whatever the tiles.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "check.h"
#include "tile_case.h"

namespace {

std::atomic<std::size_t> allocations{0}, largestBytes{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  if (bytes > largestBytes) largestBytes = bytes;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Every other form of new and delete calls these.
void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<std::size_t>(alignment)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace tile_case;

namespace {

// One document of each length, side by side in tensors of [token][head][headDim].
struct Documents {
  Shape shape;
  std::vector<int> lengths;
  Tensor q, k, v, dO, o, lse, delta, dq, dk, dv;
  Bf16Tensor q16, k16, v16, dO16;
  std::vector<Tile> tiles;
  std::vector<hsap::Bf16Tile> bf16Tiles;

  Documents(const Shape& s, const std::vector<int>& lengths_)
      : shape(s),
        lengths(lengths_),
        q(s.qTokens, s.heads, s.headDim, 1),
        k(s.qTokens, s.kvHeads(), s.headDim, 1),
        v(s.qTokens, s.kvHeads(), s.headDim, 1),
        dO(s.qTokens, s.heads, s.headDim, 1),
        o(s.qTokens, s.heads, s.headDim, 1),
        lse(s.qTokens, s.heads, 1, 1, -infinity),
        delta(s.qTokens, s.heads, 1, 1),
        dq(s.qTokens, s.heads, s.headDim, 1),
        dk(s.qTokens, s.kvHeads(), s.headDim, 1),
        dv(s.qTokens, s.kvHeads(), s.headDim, 1),
        q16(q.randomise(1)),
        k16(k.randomise(2)),
        v16(v.randomise(3)),
        dO16(dO.randomise(4)) {
    int first = 0;
    for (const int length : lengths) {
      add(first, length);
      first += length;
    }
  }

  void add(int first, int length) {
    Tile tile;
    tile.q = q.view(first), tile.k = k.view(first), tile.v = v.view(first), tile.dO = dO.view(first);
    tile.o = o.view(first), tile.lse = lse.view(first), tile.delta = delta.view(first);
    tile.dq = dq.view(first), tile.dk = dk.view(first), tile.dv = dv.view(first);
    tile.qTokens = tile.kTokens = length;
    tile.heads = shape.heads, tile.headDim = shape.headDim, tile.groupSize = shape.groupSize, tile.mask = Mask::causal;
    tiles.push_back(tile);
    hsap::Bf16Tile bf16;
    const auto from = [&](const Bf16Tensor& tensor) {
      return hsap::Bf16View{tensor.layout.data + first * tensor.layout.tokenStride, tensor.layout.headStride,
                            tensor.layout.tokenStride};
    };
    bf16.q = from(q16), bf16.k = from(k16), bf16.v = from(v16), bf16.dO = from(dO16);
    bf16.o = tile.o, bf16.lse = tile.lse, bf16.delta = tile.delta, bf16.dq = tile.dq, bf16.dk = tile.dk, bf16.dv = tile.dv;
    bf16.qTokens = bf16.kTokens = length;
    bf16.heads = tile.heads, bf16.headDim = tile.headDim, bf16.groupSize = tile.groupSize, bf16.mask = tile.mask;
    bf16Tiles.push_back(bf16);
  }

  // Both passes on both types of inputs; forward leaves the lse that backward reads.
  void compute(const Kernels& kernels, hsap::Scratch& scratch) const {
    kernels.forward(tiles.data(), tiles.size(), scratch);
    kernels.forwardBf16(bf16Tiles.data(), bf16Tiles.size(), scratch);
    if (shape.headDim > 512) return;
    kernels.backward(tiles.data(), tiles.size(), scratch);
    kernels.backwardBf16(bf16Tiles.data(), bf16Tiles.size(), scratch);
  }
};

}  // namespace

TEST("hundreds of tiles allocate nothing once their thread has its scratch") {
  std::vector<int> lengths;
  int tokens = 0;
  for (int i = 0; i < 300; ++i) lengths.push_back(1 + i * 37 % 60), tokens += lengths.back();
  const Documents documents({.qTokens = tokens, .kTokens = tokens, .heads = 4, .headDim = 64, .groupSize = 2}, lengths);
  for (const Kernels* kernels : allKernels()) {
    hsap::Scratch scratch;
    scratch.reserve(hsap::Scratch::maxBytes);
    const std::size_t before = allocations;
    documents.compute(*kernels, scratch);
    CHECK(allocations == before, hsap::isaName(kernels->isa), ": ", allocations - before, " allocations");
  }
}

// All of a scratch is taken at once; only under AddressSanitizer it is no larger than asked for, and each of the four passes may
// ask for more than those before it.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t mostScratches = 4;
#else
constexpr std::size_t mostScratches = 1;
#endif

TEST("a thread's scratch never takes more than 2 MiB, whatever the head dimension and the length") {
  // More than a block of keys. Forward has panels up to headDim 1024, backward up to 512; beyond, neither uses scratch.
  const int tokens = 400;
  for (const int headDim : {1, 64, 80, 96, 128, 256, 512, 1024}) {
    const Shape shape{.qTokens = tokens, .kTokens = tokens, .heads = 1, .headDim = headDim};
    const Documents documents(shape, {tokens});
    for (const Kernels* kernels : allKernels()) {
      largestBytes = 0;
      const std::size_t before = allocations;
      hsap::Scratch scratch;
      documents.compute(*kernels, scratch);
      CHECK(largestBytes <= std::size_t{2} << 20, hsap::isaName(kernels->isa), " headDim ", headDim, ": ", largestBytes,
            " bytes");
      CHECK(allocations - before <= mostScratches, hsap::isaName(kernels->isa), " headDim ", headDim, ": ", allocations - before);
    }
  }
}
