// Lays the blocks of one transfer end to end, as they travel: heads, then tokens, then columns, without gaps.
#pragma once

#include <cstddef>
#include <span>

#include "hsap/transport.h"

namespace hsap::mpi {

template <typename Block>
std::size_t wireBytes(std::span<const Block> blocks) {
  std::size_t bytes = 0;
  for (const Block& block : blocks) bytes += static_cast<std::size_t>(block.wireBytes());
  return bytes;
}

// The memory of the blocks itself if it already is what travels: a single block without gaps, of the type that travels. Otherwise
// null.
std::byte* inPlace(std::span<const OutgoingBlock> blocks);
std::byte* inPlace(std::span<const IncomingBlock> blocks);

void pack(std::span<const OutgoingBlock> blocks, std::byte* wire);
void unpack(std::byte* wire, std::span<const IncomingBlock> blocks);

}  // namespace hsap::mpi
