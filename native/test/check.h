// A test frame of one page: TEST("sentence") { CHECK(...); } in any file, and one main that runs them all.
//
// Arguments of the program choose the tests whose name contains any of them. The exit status is 1 if a check failed or no test
// ran.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> list;
  return list;
}

inline int failures = 0;

inline bool registerTest(const char* name, void (*body)()) {
  tests().push_back({name, body});
  return true;
}

inline void fail(const char* file, int line, const std::string& what) {
  // One broken kernel fails thousands of checks; the first twenty say enough.
  if (++failures <= 20) std::printf("  %s:%d: %s\n", file, line, what.c_str());
}

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                     \
  static void CHECK_JOIN(testBody, __LINE__)();                        \
  [[maybe_unused]] static const bool CHECK_JOIN(testAdded, __LINE__) = \
      check::registerTest(name, CHECK_JOIN(testBody, __LINE__));       \
  static void CHECK_JOIN(testBody, __LINE__)()

// CHECK(condition, parts of a message...): the message says what was being tried.
#define CHECK(condition, ...)                                                                                   \
  do {                                                                                                          \
    if (!(condition)) check::fail(__FILE__, __LINE__, check::text(#condition, " " __VA_OPT__(, ) __VA_ARGS__)); \
  } while (false)

int main(int argc, char** argv) {
  int passed = 0, failed = 0;
  for (const check::Test& test : check::tests()) {
    bool chosen = argc == 1;
    for (int i = 1; i < argc; ++i) chosen = chosen || std::strstr(test.name, argv[i]) != nullptr;
    if (!chosen) continue;
    const int before = check::failures;
    try {
      test.body();
    } catch (const std::exception& error) {
      check::fail(test.name, 0, std::string("threw ") + error.what());
    }
    const bool good = check::failures == before;
    (good ? passed : failed) += 1;
    std::printf("%s %s\n", good ? "ok    " : "FAILED", test.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
