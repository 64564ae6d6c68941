// digest-process.mjs REQUESTS [ahead]: compiles requests, at once or in a thread, and prints the digests of their schedules; all as JSON.
import { createHash } from "node:crypto";
import { AheadCompiler, hsap } from "@hsap/compiler";
import { encodeSchedule } from "@hsap/schedule";

const [given, mode] = process.argv.slice(2);
const requests = JSON.parse(given).map((request) => {
  const cuSeqlens = Int32Array.from(request.problem.batch.cuSeqlens);
  return { ...request, problem: { ...request.problem, batch: { cuSeqlens } } };
});
const compiler = new AheadCompiler();
const schedules =
  mode === "ahead"
    ? await Promise.all(requests.map((request) => compiler.compile(request)))
    : requests.map(({ problem, degrees, options }) => hsap.compile(problem, degrees, options));
const digests = schedules.map((schedule) => createHash("sha256").update(encodeSchedule(schedule)).digest("hex"));
process.stdout.write(JSON.stringify(digests));
