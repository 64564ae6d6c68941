// Runs all programs without data, to learn before the first byte moves that they come to their end.
#include <deque>
#include <unordered_map>
#include <vector>

#include "program/checks.h"

namespace hsap {

namespace {

class Rehearsal {
 public:
  explicit Rehearsal(const Program& program) : program_(program), lanes_(program.ranks()), rankOf_(program.ops(), -1) {
    for (std::int32_t rank = 0; rank < program.ranks(); ++rank) {
      Lanes& lanes = lanes_[rank];
      for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) {
        if (!isCommunication(program.kindOf(row))) {
          lanes.computations.push_back(row);
          continue;
        }
        if (lanes.groups.size() == static_cast<std::size_t>(program.op.group[row])) lanes.groups.emplace_back();
        lanes.groups.back().rows.push_back(row);
        rankOf_[row] = rank;
      }
      ready_.push_back(rank);
    }
  }

  void run() {
    while (!ready_.empty()) {
      const std::int32_t rank = ready_.back();
      ready_.pop_back();
      while (advanceComputation(lanes_[rank]) || startGroup(lanes_[rank])) {
      }
    }
    for (const Lanes& lanes : lanes_) refuseUnfinished(lanes);
  }

 private:
  struct Group {
    std::vector<std::int32_t> rows;
    std::size_t matched = 0;
  };
  struct Lanes {
    std::vector<std::int32_t> computations;
    std::vector<Group> groups;
    std::size_t computed = 0, exchanged = 0;
    bool inFlight = false;
  };

  bool advanceComputation(Lanes& lanes) const {
    const std::size_t before = lanes.computed;
    while (lanes.computed < lanes.computations.size() &&
           static_cast<std::size_t>(program_.op.waitFor[lanes.computations[lanes.computed]]) <= lanes.exchanged)
      ++lanes.computed;
    return lanes.computed > before;
  }

  // Posts the rank's next group if its data is ready. Returns whether that changed anything.
  bool startGroup(Lanes& lanes) {
    if (lanes.inFlight || lanes.exchanged == lanes.groups.size()) return false;
    const Group& group = lanes.groups[lanes.exchanged];
    if (static_cast<std::size_t>(program_.op.waitFor[group.rows.front()]) > lanes.computed) return false;
    lanes.inFlight = true;
    for (const std::int32_t row : group.rows) post(row);
    return true;
  }

  // At any time a channel holds unmatched sends or unmatched receives, never both.
  void post(std::int32_t row) {
    const std::int32_t rank = rankOf_[row], peer = program_.op.peer[row];
    const bool sends = program_.kindOf(row) == OpKind::send;
    const std::uint64_t source = sends ? rank : peer, destination = sends ? peer : rank;
    std::deque<std::int32_t>& waiting = channels_[source << 32 | destination];
    if (waiting.empty() || program_.kindOf(waiting.front()) == program_.kindOf(row)) {
      waiting.push_back(row);
      return;
    }
    const std::int32_t partner = waiting.front();
    waiting.pop_front();
    sends ? expectEqualBlocks(row, partner) : expectEqualBlocks(partner, row);
    finishRow(row);
    finishRow(partner);
  }

  void finishRow(std::int32_t row) {
    Lanes& lanes = lanes_[rankOf_[row]];
    Group& group = lanes.groups[lanes.exchanged];
    if (++group.matched < group.rows.size()) return;
    ++lanes.exchanged;
    lanes.inFlight = false;
    ready_.push_back(rankOf_[row]);
  }

  void expectEqualBlocks(std::int32_t send, std::int32_t recv) const {
    const std::int32_t count = program_.operandsOf(send);
    if (count != program_.operandsOf(recv))
      refuse(opText(program_, recv), " takes ", program_.operandsOf(recv), " blocks, but ", opText(program_, send),
             " hands over ", count);
    for (std::int32_t i = 0; i < count; ++i) {
      const std::int32_t a = program_.op.operandBegin[send] + i, b = program_.op.operandBegin[recv] + i;
      const bool same = program_.tensorOf(a) == program_.tensorOf(b) && program_.operandBox(a) == program_.operandBox(b) &&
                        program_.region.part[program_.operand.region[a]] == program_.region.part[program_.operand.region[b]];
      if (!same)
        refuse(opText(program_, recv), " takes ", boxText(program_.operandBox(b)), " as block ", i, ", but ",
               opText(program_, send), " hands over ", boxText(program_.operandBox(a)), " or another tensor");
    }
  }

  void refuseUnfinished(const Lanes& lanes) const {
    if (lanes.exchanged < lanes.groups.size()) {
      const std::int32_t row = lanes.groups[lanes.exchanged].rows.front();
      if (lanes.inFlight) refuse(opText(program_, row), " is in a group that never ends: a send or receive has no partner");
      refuse(opText(program_, row), " waits forever for ", program_.op.waitFor[row], " computations");
    }
    if (lanes.computed < lanes.computations.size()) {
      const std::int32_t row = lanes.computations[lanes.computed];
      refuse(opText(program_, row), " waits forever for ", program_.op.waitFor[row], " groups");
    }
  }

  const Program& program_;
  std::vector<Lanes> lanes_;
  std::vector<std::int32_t> rankOf_;  // the rank of a send or receive
  std::unordered_map<std::uint64_t, std::deque<std::int32_t>> channels_;
  std::vector<std::int32_t> ready_;
};

}  // namespace

void checkProgress(const Program& program) { Rehearsal(program).run(); }

}  // namespace hsap
