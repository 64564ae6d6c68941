// Programs in the binary container: read back as they were, refused when anything is wrong with them.
#include "hsap/program_file.h"

#include <cstddef>

#include "check.h"
#include "ring_fixture.h"

using namespace fixture;

namespace {

// Writes containers as packages/schedule/src/binary describes them.
class ContainerWriter {
 public:
  template <typename T>
  void add(const std::string& name, std::span<const T> values, std::uint32_t type) {
    const auto* begin = reinterpret_cast<const std::byte*>(values.data());
    columns_.push_back({name, type, values.size(), std::vector<std::byte>(begin, begin + values.size_bytes())});
  }

  std::vector<std::byte> finish() const {
    std::vector<std::byte> bytes(32 + 72 * columns_.size());
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const auto& [name, type, count, data] = columns_[i];
      bytes.resize((bytes.size() + 7) / 8 * 8);
      const std::uint64_t place[2] = {count, bytes.size()};
      bytes.insert(bytes.end(), data.begin(), data.end());
      std::byte* entry = bytes.data() + 32 + 72 * i;
      std::memcpy(entry, name.data(), name.size());
      std::memcpy(entry + 48, &type, 4);
      std::memcpy(entry + 56, place, 16);
    }
    bytes.resize((bytes.size() + 7) / 8 * 8);
    const unsigned char magic[8] = {0x89, 0x48, 0x53, 0x41, 0x50, 0x0d, 0x0a, 0x1a};
    const std::uint32_t numbers[2] = {1, static_cast<std::uint32_t>(columns_.size())};
    const std::uint64_t length = bytes.size();
    std::memcpy(bytes.data(), magic, 8);
    std::memcpy(bytes.data() + 8, numbers, 8);
    std::memcpy(bytes.data() + 16, &length, 8);
    sign(bytes);
    return bytes;
  }

  // Bit by bit, unlike the reader's table.
  static void sign(std::vector<std::byte>& bytes) {
    std::uint32_t sum = ~0u;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (i >= 24 && i < 28) continue;
      sum ^= std::to_integer<std::uint32_t>(bytes[i]);
      for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ (sum & 1 ? 0xedb88320u : 0);
    }
    sum = ~sum;
    std::memcpy(bytes.data() + 24, &sum, 4);
  }

 private:
  struct Column {
    std::string name;
    std::uint32_t type;
    std::uint64_t count;
    std::vector<std::byte> data;
  };
  std::vector<Column> columns_;
};

std::vector<std::byte> encode(const Program& program, const std::string& leftOut = {}) {
  ContainerWriter writer;
  const auto ints = [&](const char* name, std::span<const std::int32_t> values) {
    if (name != leftOut) writer.add(name, values, 2);
  };
  const auto bytes = [&](const char* name, std::span<const std::uint8_t> values) { writer.add(name, values, 0); };
  const auto doubles = [&](const char* name, std::span<const double> values) { writer.add(name, values, 3); };
  const auto& [problem, rank, tensor, region, owned, op, operand] = program;
  const std::int32_t shape[6] = {problem.heads, problem.kvHeads, problem.headDim, problem.bf16, problem.causal, problem.backward};
  ints("problem.shape", shape), ints("problem.cuSeqlens", problem.cuSeqlens);
  ints("rank.opBegin", rank.opBegin), ints("rank.regionBegin", rank.regionBegin), doubles("rank.arenaBytes", rank.arenaBytes);
  ints("tensor.code", tensor.code), ints("tensor.heads", tensor.heads), ints("tensor.width", tensor.width);
  ints("tensor.rows", tensor.rows);
  bytes("tensor.dtype", tensor.dtype), bytes("tensor.role", tensor.role), bytes("tensor.accumulates", tensor.accumulates);
  ints("region.tensor", region.tensor), ints("region.part", region.part), ints("region.tokenBegin", region.tokenBegin);
  ints("region.tokenEnd", region.tokenEnd), ints("region.headBegin", region.headBegin), ints("region.headEnd", region.headEnd);
  doubles("region.offset", region.offset), ints("region.flags", region.flags), ints("region.initOp", region.initOp);
  ints("owned.region", owned.region), ints("owned.tokenBegin", owned.tokenBegin), ints("owned.tokenEnd", owned.tokenEnd);
  bytes("op.kind", op.kind), bytes("op.attribute", op.attribute), ints("op.peer", op.peer), ints("op.group", op.group);
  ints("op.waitFor", op.waitFor), ints("op.operandBegin", op.operandBegin);
  ints("operand.region", operand.region), ints("operand.tokenBegin", operand.tokenBegin),
      ints("operand.tokenEnd", operand.tokenEnd);
  ints("operand.headBegin", operand.headBegin), ints("operand.headEnd", operand.headEnd);
  return writer.finish();
}

std::string refusalOf(const std::vector<std::byte>& bytes) {
  try {
    ProgramFile(bytes).program();
  } catch (const ProgramError& error) {
    return error.what();
  }
  return "accepted";
}

TEST("a program read from its container runs to the same bits") {
  Ring ring(3, {2, 1, 16, false, true, false, {}}, {0, 5, 40, 41, 90});
  const Program program = ring.fixture.finish();
  const ProgramFile file(encode(program));
  checkProgram(file.program());
  CHECK(run(file.program()) == run(program));
}

TEST("what is no file is not read") {
  for (const char* path : {"/", "/no such file"}) {
    std::string error = "none";
    try {
      ProgramFile::read(path);
    } catch (const std::exception& thrown) {
      error = thrown.what();
    }
    CHECK(error == std::string("cannot read ") + path, error);
  }
}

TEST("a container cut off anywhere is refused") {
  Ring ring(2, {2, 1, 16, false, true, false, {}}, {0, 5, 40});
  const std::vector<std::byte> whole = encode(ring.fixture.finish());
  CHECK(refusalOf(whole) == "accepted", refusalOf(whole));
  for (std::size_t length = 0; length < whole.size(); length += 1 + length / 16) {
    const std::string refusal = refusalOf({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    CHECK(refusal.find("corrupt program: truncated") == 0, "length ", length, ": ", refusal);
  }
}

TEST("a container with any bit turned is refused") {
  Ring ring(2, {2, 1, 16, false, true, false, {}}, {0, 5, 40});
  std::vector<std::byte> bytes = encode(ring.fixture.finish());
  for (std::size_t i = 0; i < bytes.size(); i += 7) {
    bytes[i] ^= std::byte{0x10};
    CHECK(refusalOf(bytes) != "accepted", "byte ", i);
    bytes[i] ^= std::byte{0x10};
  }
}

TEST("a container with a right checksum but impossible columns is refused") {
  Ring ring(2, {2, 1, 16, false, true, false, {}}, {0, 5, 40});
  const std::vector<std::byte> whole = encode(ring.fixture.finish());
  const auto changed = [&](std::size_t at, std::uint64_t value, std::size_t size) {
    std::vector<std::byte> bytes = whole;
    std::memcpy(bytes.data() + at, &value, size);
    ContainerWriter::sign(bytes);
    return refusalOf(bytes);
  };
  CHECK(changed(8, 2, 4).find("version 2") != std::string::npos);
  CHECK(changed(12, 1u << 30, 4).find("columns in") != std::string::npos);
  CHECK(changed(32 + 48, 9, 4).find("element type 9") != std::string::npos);
  CHECK(changed(32 + 56, ~std::uint64_t{0} / 4, 8).find("elements at byte") != std::string::npos);
  CHECK(changed(32 + 64, ~std::uint64_t{0} - 7, 8).find("elements at byte") != std::string::npos);
  CHECK(changed(32 + 64, 33, 8).find("elements at byte 33") != std::string::npos);
  const std::string missing = refusalOf(encode(ring.fixture.columns(), "op.waitFor"));
  CHECK(missing == "corrupt program: column op.waitFor is missing", missing);
}

}  // namespace
