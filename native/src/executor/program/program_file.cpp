#include "hsap/program_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <type_traits>

#include "program/checks.h"

namespace hsap {

static_assert(std::endian::native == std::endian::little, "the container is little-endian and read in place");

namespace {

constexpr unsigned char magic[8] = {0x89, 0x48, 0x53, 0x41, 0x50, 0x0d, 0x0a, 0x1a};
constexpr std::uint32_t version = 1;
constexpr std::size_t headerBytes = 32, nameBytes = 48, entryBytes = nameBytes + 24, checksumAt = 24;
constexpr std::size_t elementBytes[4] = {1, 2, 4, 8};

template <typename T>
constexpr std::uint32_t typeCode() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return 0;
  if constexpr (std::is_same_v<T, std::int32_t>) return 2;
  if constexpr (std::is_same_v<T, double>) return 3;
}

// CRC-32 as in zlib, of one more piece.
std::uint32_t crc32(std::uint32_t sum, const std::byte* bytes, std::size_t count) {
  static const auto table = [] {
    std::vector<std::uint32_t> rows(256);
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t row = i;
      for (int bit = 0; bit < 8; ++bit) row = (row >> 1) ^ (row & 1 ? 0xedb88320u : 0);
      rows[i] = row;
    }
    return rows;
  }();
  sum = ~sum;
  for (std::size_t i = 0; i < count; ++i) sum = table[(sum ^ std::to_integer<std::uint32_t>(bytes[i])) & 0xff] ^ (sum >> 8);
  return ~sum;
}

}  // namespace

ProgramFile::ProgramFile(const std::vector<std::byte>& bytes) : words_((bytes.size() + 7) / 8), length_(bytes.size()) {
  if (!bytes.empty()) std::memcpy(words_.data(), bytes.data(), bytes.size());
  if (length_ < headerBytes) refuse("truncated: ", length_, " bytes (the header has ", headerBytes, ")");
  if (std::memcmp(this->bytes(), magic, sizeof magic) != 0) refuse("not a container of columns");
  if (at<std::uint32_t>(8) != version) refuse("version ", at<std::uint32_t>(8), " (must be ", version, ")");
  if (at<std::uint64_t>(16) != length_) refuse("truncated: ", length_, " bytes (must be ", at<std::uint64_t>(16), ")");
  const std::uint32_t sum = crc32(crc32(0, this->bytes(), checksumAt), this->bytes() + checksumAt + 4, length_ - checksumAt - 4);
  if (sum != at<std::uint32_t>(checksumAt)) refuse("damaged: checksum ", sum, " (must be ", at<std::uint32_t>(checksumAt), ")");
  const std::size_t count = at<std::uint32_t>(12);
  if (count > (length_ - headerBytes) / entryBytes) refuse("truncated: ", count, " columns in ", length_, " bytes");
  for (std::size_t i = 0; i < count; ++i) readColumn(headerBytes + i * entryBytes);
}

ProgramFile ProgramFile::read(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) throw std::runtime_error("cannot read " + path);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error("cannot read " + path);
  return ProgramFile(bytes);
}

void ProgramFile::readColumn(std::size_t entry) {
  const auto* name = reinterpret_cast<const char*>(bytes() + entry);
  const std::string text(name, std::find(name, name + nameBytes, '\0'));
  const Column column{at<std::uint32_t>(entry + nameBytes), at<std::uint64_t>(entry + nameBytes + 8),
                      at<std::uint64_t>(entry + nameBytes + 16)};
  if (column.type >= std::size(elementBytes)) refuse("column ", text, " has element type ", column.type);
  if (column.offset % 8 != 0 || column.offset > length_ || column.count > (length_ - column.offset) / elementBytes[column.type])
    refuse("column ", text, " with ", column.count, " elements at byte ", column.offset, " of ", length_);
  if (!columns_.emplace(text, column).second) refuse("column ", text, " occurs twice");
}

template <typename T>
T ProgramFile::at(std::size_t offset) const {
  T value;
  std::memcpy(&value, bytes() + offset, sizeof value);
  return value;
}

template <typename T>
std::span<const T> ProgramFile::column(const std::string& name) const {
  const auto found = columns_.find(name);
  if (found == columns_.end()) refuse("column ", name, " is missing");
  if (found->second.type != typeCode<T>())
    refuse("column ", name, " has element type ", found->second.type, " (must be ", typeCode<T>(), ")");
  return {reinterpret_cast<const T*>(bytes() + found->second.offset), found->second.count};
}

Program ProgramFile::program() const {
  using std::int32_t, std::uint8_t;
  const auto ints = [this](const char* name) { return column<int32_t>(name); };
  const auto bytes = [this](const char* name) { return column<uint8_t>(name); };
  const auto doubles = [this](const char* name) { return column<double>(name); };
  const std::span<const int32_t> shape = ints("problem.shape");
  if (shape.size() != 6) refuse("problem.shape has ", shape.size(), " numbers (must have 6)");
  Program program;
  program.problem = {shape[0], shape[1], shape[2], shape[3] != 0, shape[4] != 0, shape[5] != 0, ints("problem.cuSeqlens")};
  program.rank = {ints("rank.opBegin"), ints("rank.regionBegin"), doubles("rank.arenaBytes")};
  program.tensor = {ints("tensor.code"),  ints("tensor.heads"),        ints("tensor.width"), bytes("tensor.dtype"),
                    bytes("tensor.role"), bytes("tensor.accumulates"), ints("tensor.rows")};
  program.region = {ints("region.tensor"),    ints("region.part"),      ints("region.tokenBegin"),
                    ints("region.tokenEnd"),  ints("region.headBegin"), ints("region.headEnd"),
                    doubles("region.offset"), ints("region.flags"),     ints("region.initOp")};
  program.owned = {ints("owned.region"), ints("owned.tokenBegin"), ints("owned.tokenEnd")};
  program.op = {bytes("op.kind"), bytes("op.attribute"), ints("op.peer"),
                ints("op.group"), ints("op.waitFor"),    ints("op.operandBegin")};
  program.operand = {ints("operand.region"), ints("operand.tokenBegin"), ints("operand.tokenEnd"), ints("operand.headBegin"),
                     ints("operand.headEnd")};
  return program;
}

}  // namespace hsap
