#include "block_packing.h"

#include "../strided_copy.h"

namespace hsap::mpi {

namespace {

template <typename Block>
ElementType travellingType(const Block& block) {
  return block.bf16 ? ElementType::bf16 : ElementType::fp32;
}

template <typename Block>
BlockView wireView(const Block& block, std::byte* wire) {
  BlockView view;
  view.data = wire;
  view.headStride = std::ptrdiff_t{block.tokens} * block.width;
  view.tokenStride = block.width;
  view.type = travellingType(block);
  return view;
}

template <typename Block>
std::byte* memoryOf(std::span<const Block> blocks) {
  if (blocks.size() != 1 || blocks[0].view.type != travellingType(blocks[0])) return nullptr;
  const BlockView &view = blocks[0].view, dense = wireView(blocks[0], view.data);
  const bool gapless = view.tokenStride == dense.tokenStride && (blocks[0].heads == 1 || view.headStride == dense.headStride);
  return gapless ? view.data : nullptr;
}

}  // namespace

std::byte* inPlace(std::span<const OutgoingBlock> blocks) { return memoryOf(blocks); }
std::byte* inPlace(std::span<const IncomingBlock> blocks) { return memoryOf(blocks); }

void pack(std::span<const OutgoingBlock> blocks, std::byte* wire) {
  for (const OutgoingBlock& block : blocks) {
    copyBlock(wireView(block, wire), block.view, block.tokens, block.heads, block.width, block.bf16);
    wire += block.wireBytes();
  }
}

void unpack(std::byte* wire, std::span<const IncomingBlock> blocks) {
  for (const IncomingBlock& block : blocks) {
    copyBlock(block.view, wireView(block, wire), block.tokens, block.heads, block.width, false);
    wire += block.wireBytes();
  }
}

}  // namespace hsap::mpi
