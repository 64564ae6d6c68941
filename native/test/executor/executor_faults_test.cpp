// Runs that must not end well: ranks that throw, runs that are cancelled, programs that are corrupt.
#include <array>
#include <chrono>
#include <limits>
#include <random>
#include <thread>

#include "check.h"
#include "ring_fixture.h"

using namespace fixture;

namespace {

const std::vector<std::int32_t> documents{0, 5, 70, 71, 160, 200};

Ring smallRing(bool backward = false) { return Ring(3, {2, 1, 16, false, true, backward, {}}, documents); }

std::string errorOf(const Program& program, const RunOptions& options) {
  try {
    run(program, options);
  } catch (const RunError& error) {
    return error.code + ": " + error.what();
  }
  return "no error";
}

std::string refusalOf(const Program& program) {
  try {
    checkProgram(program);
  } catch (const ProgramError& error) {
    return error.what();
  }
  return "accepted";
}

TEST("whichever op throws, the run ends with that error and names it") {
  Ring ring = smallRing();
  const Program program = ring.fixture.finish();
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) {
      RunOptions options;
      const std::int32_t op = row - program.rank.opBegin[rank];
      options.fault = Fault{rank, op};
      const std::string expected =
          check::text("rank-failed: rank ", rank, ", op ", op, " (", opKindName(program.kindOf(row)), ") failed: injected fault");
      const std::string error = errorOf(program, options);
      CHECK(error == expected, error);
    }
  }
}

TEST("a rank that owns an input nobody can make ends the run before it starts") {
  Fixture fixture(2, {1, 1, 4, false, true, false, {}}, {0, 8});
  const std::int32_t tensor = fixture.tensor(99, 1, 4, 0, false);
  for (Rank& rank : fixture.ranks) {
    const std::int32_t region = rank.region(tensor, {0, 8, 0, 1});
    rank.own(region, 0, 8);
  }
  const std::string error = errorOf(fixture.finish(), {});
  CHECK(error.find("tensor code 99 is not an input") != std::string::npos, error);
}

TEST("an arena no machine has is refused before anything is allocated") {
  Ring ring = smallRing();
  const Program program = ring.fixture.finish();
  ring.fixture.arenaBytes[1] = 4e15;
  checkProgram(program);
  for (const bool alias : {true, false}) {
    RunOptions options;
    options.alias = alias;
    const std::string error = errorOf(program, options);
    CHECK(error.find("out-of-memory: the arenas of 3 ranks need 3814697265 MiB") == 0, error);
  }
}

TEST("tensors so large that sizes would not fit their numbers are refused") {
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
  const auto refusal = [](std::int32_t heads, std::int32_t width, std::int32_t tokens) {
    Fixture fixture(1, {1, 1, 4, false, true, false, {}}, {0, tokens});
    const std::int32_t tensor = fixture.tensor(99, heads, width, 0, false);
    // Laid out as a region that is there, so that nothing but the sizes is wrong.
    const std::int32_t region = fixture.ranks[0].region(tensor, {0, 1, 0, 1});
    fixture.ranks[0].own(region, 0, 1);
    const Program program = fixture.finish();
    fixture.region[3][0] = tokens, fixture.region[5][0] = heads;
    return refusalOf(program);
  };
  // 4 * 8 * (2^31 - 1)^2 bytes are less than none in 64 bits.
  for (const auto& [heads, width, tokens] : {std::array{most, most, 8}, {1 << 30, 1 << 30, 8}, {most, 1, 8}, {1, 1, most}}) {
    const std::string text = refusal(heads, width, tokens);
    CHECK(text.find("corrupt program: tensor 0 has") == 0, text);
  }
  CHECK(refusal(1, 4, 8).find("corrupt program: region 0 at offset 0") == 0, refusal(1, 4, 8));
}

TEST("a cancellation ends a run wherever it is: before, while it computes, while it waits for a link") {
  Ring large(2, {1, 1, 64, false, true, false, {}}, {0, 60000}), small = smallRing();
  const Program slow = large.fixture.finish(), waiting = small.fixture.finish();
  for (int delay : {0, 5, 30}) {
    // The last link takes longer for a block than a clock can count.
    for (const double link : {0.0, 1.0, 1e-12}) {
      Cancellation cancellation;
      RunOptions options;
      options.linkBytesPerSecond = link;
      std::thread canceller([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(delay));
        cancellation.request();
      });
      std::string code = "none";
      try {
        run(link > 0 ? waiting : slow, options, cancellation);
      } catch (const RunError& error) {
        code = error.code;
      }
      canceller.join();
      CHECK(code == "aborted", code, " link ", link, " delay ", delay);
    }
  }
}

TEST("a run cancelled in advance does not start, and the next one is not disturbed") {
  Ring ring = smallRing();
  const Program program = ring.fixture.finish();
  Cancellation cancellation;
  cancellation.request();
  std::string code;
  try {
    run(program, {}, cancellation);
  } catch (const RunError& error) {
    code = error.code;
  }
  CHECK(code == "aborted", code);
  CHECK(errorOf(program, {}) == "no error");
}

TEST("a backward run without the forward pass's results, or with too short a trace, is refused") {
  Ring ring = smallRing(true);
  const Program program = ring.fixture.finish();
  CHECK(errorOf(program, {}).find("invalid-run: a backward pass needs") == 0);
  RunTrace trace;
  Cancellation cancellation;
  std::string code;
  try {
    runProgram(program, {}, {}, trace, cancellation);
  } catch (const RunError& error) {
    code = error.code;
  }
  CHECK(code == "invalid-run", code);
}

TEST("a run that is given tensors must be given one place for each, and what the engine cannot make itself") {
  Ring ring = smallRing(true);
  const Program program = ring.fixture.finish();
  std::vector<float*> tensors(program.tensor.code.size() - 1);
  RunOptions options;
  options.tensors = tensors;
  CHECK(errorOf(program, options) == "invalid-run: 8 tensors are given (must be one, or none, for each of 9)",
        errorOf(program, options));
  tensors.push_back(nullptr);
  options.tensors = tensors;
  const std::string error = errorOf(program, options);
  // Whichever rank is first.
  CHECK(error.starts_with("rank-failed: rank ") && error.ends_with(" failed: no lse of the forward pass is given"), error);
}

TEST("work cannot be cut into pieces of nothing") {
  Ring ring = smallRing();
  const Program program = ring.fixture.finish();
  for (const double work : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    RunOptions options;
    options.pieceWork = work;
    CHECK(errorOf(program, options).find("invalid-run: pieces of ") == 0, errorOf(program, options));
  }
}

// A transport whose process takes no part any more once the rank waits. What was posted then may arrive later, or never.
class LeftTransport final : public Transport, public Endpoint {
 public:
  Endpoint& endpoint(std::int32_t) override { return *this; }
  void abort() noexcept override {}
  void post(Group& group) override {
    for (const Receive& receive : group.receives)
      for (const IncomingBlock& block : receive.blocks) expected_.push_back(block.view);
  }
  void wait() override { throw TransportAborted(); }
  bool underWay() const override { return !expected_.empty(); }

  // Writes where rows were to be received; returns how many blocks these are.
  std::size_t receiveLate() const {
    for (const BlockView& view : expected_) view.as<float>().data[0] = 1;
    return expected_.size();
  }

 private:
  std::vector<BlockView> expected_;
};

TEST("a run ends when its transport was left, without being told so otherwise") {
  Ring ring = smallRing();
  const Program program = ring.fixture.finish();
  LeftTransport transport;
  RunOptions options;
  options.rank = 0;
  options.transport = &transport;
  CHECK(errorOf(program, options) == "aborted: run aborted", errorOf(program, options));
}

TEST("memory stays where it was as long as a transport that was left may write to it") {
  Ring ring = smallRing();
  const Program program = ring.fixture.finish();
  LeftTransport transport;
  RunOptions options;
  options.rank = 0;
  options.transport = &transport;
  errorOf(program, options);
  CHECK(transport.receiveLate() > 0);
}

TEST("sends and receives that do not pair up are refused, with the op that is stuck") {
  Ring ring = smallRing();
  Program program = ring.fixture.finish();
  auto& fixture = ring.fixture;
  const std::int32_t send = 0, recv = 1;
  fixture.op[0][send] = 2;  // rank 0 now sends to rank 2, which takes from rank 1
  CHECK(refusalOf(program).find("is in a group that never ends") != std::string::npos, refusalOf(program));
  fixture.op[0][send] = 1;
  CHECK(refusalOf(program) == "accepted", refusalOf(program));
  // The receiver wants other tokens than it gets.
  fixture.operand[2][fixture.operandBegin[recv]] -= 1;
  CHECK(refusalOf(program).find("corrupt program") == 0, refusalOf(program));
}

TEST("a program in which two lanes wait for one another is refused") {
  Ring ring = smallRing();
  Program program = ring.fixture.finish();
  std::int32_t computation = 0;
  while (isCommunication(program.kindOf(computation))) ++computation;
  ring.fixture.op[2][computation] = 1;                // the first computation waits for the first group,
  ring.fixture.op[2][0] = ring.fixture.op[2][1] = 1;  // which waits for the first computation
  CHECK(refusalOf(program).find("waits forever") != std::string::npos, refusalOf(program));
}

// A thread sanitizer would rightly report the races of a program whose waits were broken, so there it is only checked.
#if defined(__SANITIZE_THREAD__)
constexpr bool mayRunBroken = false;
#else
constexpr bool mayRunBroken = true;
#endif

TEST("ten thousand broken programs are refused or run, and never crash or hang") {
  std::mt19937 random(1);
  int refused = 0, ran = 0;
  for (int round = 0; round < 10000; ++round) {
    Ring ring = smallRing(round % 2 == 1);
    Fixture& fixture = ring.fixture;
    fixture.finish();
    std::vector<std::vector<std::int32_t>*> columns{&fixture.opBegin,    &fixture.regionBegin, &fixture.operandBegin,
                                                    &fixture.tensorCode, &fixture.tensorHeads, &fixture.tensorWidth};
    for (auto& column : fixture.region) columns.push_back(&column);
    for (auto& column : fixture.owned) columns.push_back(&column);
    for (auto& column : fixture.op) columns.push_back(&column);
    for (auto& column : fixture.operand) columns.push_back(&column);
    std::vector<std::vector<std::uint8_t>*> bytes{&fixture.tensorDtype, &fixture.tensorRole, &fixture.tensorAccumulates,
                                                  &fixture.kind, &fixture.attribute};
    const std::size_t chosen = random() % (columns.size() + bytes.size() + 1);
    if (chosen < columns.size()) {
      auto& column = *columns[chosen];
      std::int32_t& value = column[random() % column.size()];
      // Far off, a little off, or the value of another row.
      const int how = random() % 3;
      value = how == 0   ? static_cast<std::int32_t>(random())
              : how == 1 ? value + static_cast<std::int32_t>(random() % 5) - 2
                         : column[random() % column.size()];
    } else if (chosen < columns.size() + bytes.size()) {
      auto& column = *bytes[chosen - columns.size()];
      column[random() % column.size()] = static_cast<std::uint8_t>(random() % 12);
    } else {
      fixture.offset[random() % fixture.offset.size()] = 64.0 * (static_cast<double>(random() % 2000) - 500);
    }
    const Program program = fixture.columns();
    if (refusalOf(program) != "accepted") {
      ++refused;
      continue;
    }
    ++ran;
    if (!mayRunBroken) continue;
    const std::vector<float> saved(2 * 200 * 16, 0.5f);
    RunOptions options;
    options.savedO = options.savedLse = saved.data();
    errorOf(program, options);
  }
  CHECK(refused > 2000 && ran > 500, refused, " refused, ", ran, " ran");
}

}  // namespace
