// Which groups of a program form a collective in the sense of hsap/transport.h.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "hsap/program.h"
#include "hsap/transport.h"

namespace hsap {

// Libraries count the bytes of a collective in an int.
inline constexpr std::int64_t largestCollectiveBytes = std::int64_t{1} << 30;

// What one rank must know. Every rank derives it from the same program, so that all agree.
struct CollectivePlan {
  // Sets of members that form collectives somewhere in the program, in an order that is the same on every rank.
  std::vector<std::vector<std::int32_t>> memberSets;
  std::deque<Collective> collectives;
  std::vector<const Collective*> ofGroup;  // for each group of the rank, null if it is none
};

// The groups of kind allGather and allToAll whose members all post them alike: the same sequence of kinds, every send of a rank
// received in the partner's group of the same number, and for allGather the same blocks to everyone, and no more than
// largestCollectiveBytes sent or received by any. If one group of a set of members is not so, none of that set is a collective.
// For a program that checkProgram accepted.
CollectivePlan planCollectives(const Program& program, std::int32_t rank);

}  // namespace hsap
