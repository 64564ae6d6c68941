// compile-times.js STRATEGY PACK CALLS: milliseconds of each call, the first one cold, as a JSON array.
import { timeCompilations } from "../dist/compile-times.js";

const [strategy, pack, calls] = process.argv.slice(2);
process.stdout.write(JSON.stringify(timeCompilations(strategy, pack, Number(calls))));
