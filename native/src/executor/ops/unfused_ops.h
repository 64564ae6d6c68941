// Attention in separate steps with its scores in memory, as strategies without a fused kernel do it: score, softmax, weigh
// and, backward, unscore. Plain blocked loops.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "hsap/program.h"
#include "hsap/scratch.h"
#include "ops/dense_ops.h"
#include "program/head_groups.h"

namespace hsap {

// A block in memory with its place in global coordinates.
struct PlacedBlock {
  BlockView view;
  Box box;
  std::int32_t width = 0;

  // Of a block stored as fp32, as all but inputs are.
  float* row(std::int64_t token, std::int64_t head) const { return view.at(token, head).as<float>().data; }
};

struct UnfusedContext {
  const DenseOps& dense;
  Scratch& scratch;
  const AttentionProblem& problem;
  const std::function<void()>& checkpoint;  // called between heads; throws when the run is to stop
};

// s = scale * q k', masked pairs and columns beyond the keys -inf.
void score(const UnfusedContext& context, TileMask mask, HeadGroups groups, const PlacedBlock& q, const PlacedBlock& k,
           const PlacedBlock& s);
// Forward: all parts of a row become its softmax, lse its log-sum-exp. Rows without a key: parts 0, lse -inf.
void softmaxForward(const UnfusedContext& context, const PlacedBlock& lse, const std::vector<PlacedBlock>& parts);
// Backward: s = exp(s - lse); 0 where lse is -inf.
void softmaxBackward(const UnfusedContext& context, const PlacedBlock& lse, const std::vector<PlacedBlock>& parts);
// o += s v
void weighForward(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& v,
                  const PlacedBlock& o);
// dv += s' do, then s *= do v' - delta
void weighBackward(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& v,
                   const PlacedBlock& dO, const PlacedBlock& delta, const PlacedBlock& dv);
// dq += scale * s k, dk += scale * s' q
void unscore(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& q, const PlacedBlock& k,
             const PlacedBlock& dq, const PlacedBlock& dk);

}  // namespace hsap
