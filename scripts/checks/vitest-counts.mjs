import { writeFileSync } from "node:fs";

/** A vitest reporter that writes what `vitestTests` counts to the file that VITEST_COUNTS names. */
export default class VitestCounts {
  onTestRunEnd(modules, unhandledErrors) {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state) => tests.filter((test) => test.result().state === state);
    const counts = {
      passed: inState("passed").length,
      failed: inState("failed").length,
      pending: inState("pending").map((test) => nameOf(test)),
      skipped: inState("skipped").map((test) => ({ name: nameOf(test), reason: test.result().note ?? "" })),
      // A file that does not load, or a hook that throws, fails a module or suite without failing any test in it.
      brokenModules: modules.filter(isBroken).map((module) => module.relativeModuleId),
      unhandledErrors: unhandledErrors.map((error) => String(error.message).split("\n")[0]),
    };
    writeFileSync(process.env.VITEST_COUNTS, JSON.stringify(counts));
  }
}

function isBroken(module) {
  return module.errors().length > 0 || [...module.children.allSuites()].some((suite) => suite.errors().length > 0);
}

function nameOf(test) {
  return `${test.module.relativeModuleId} > ${test.fullName}`;
}
