// The main function of a program that runs other programs from files, and passes if it was given some and all of them pass.
#pragma once

#include <cstdio>
#include <exception>

// `runFile` takes a path, prints a line about that file, and returns whether it passes.
template <typename RunFile>
int runFiles(int argc, char** argv, RunFile runFile) {
  int failed = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      failed += !runFile(argv[i]);
    } catch (const std::exception& error) {
      std::printf("FAILED %s: %s\n", argv[i], error.what());
      ++failed;
    }
  }
  std::printf("%d passed, %d failed\n", argc - 1 - failed, failed);
  return failed == 0 && argc > 1 ? 0 : 1;
}
