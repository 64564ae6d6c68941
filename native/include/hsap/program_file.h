// A program in the binary container of packages/schedule: columns by name, used where they lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hsap/program.h"

namespace hsap {

// Holds the bytes of a container and gives its columns. Besides the tables of LoweredSchedule it has `problem.shape`, an
// int32 column of heads, kvHeads, headDim, bf16, causal, backward, and `problem.cuSeqlens`.
class ProgramFile {
 public:
  // Throws ProgramError if the bytes are of another kind or version, truncated or damaged.
  explicit ProgramFile(const std::vector<std::byte>& bytes);
  // Throws std::runtime_error if the file cannot be read, and as above.
  static ProgramFile read(const std::string& path);

  // Views of this object's memory. Throws ProgramError if a column is missing or of another type. Checks no value: that is
  // for checkProgram.
  Program program() const;

 private:
  struct Column {
    std::uint32_t type;
    std::size_t count, offset;
  };

  void readColumn(std::size_t entry);
  template <typename T>
  std::span<const T> column(const std::string& name) const;
  template <typename T>
  T at(std::size_t offset) const;
  const std::byte* bytes() const { return reinterpret_cast<const std::byte*>(words_.data()); }

  std::vector<std::uint64_t> words_;  // whole words, so that columns of doubles are aligned
  std::size_t length_ = 0;
  std::map<std::string, Column> columns_;
};

}  // namespace hsap
