// compile-times.js STRATEGY PACK: the milliseconds of compilations in this process, the first one of all among them, as JSON.
import { timeCompilations } from "../dist/compile-times.js";

const [strategy, pack] = process.argv.slice(2);
process.stdout.write(JSON.stringify(timeCompilations(strategy, pack)));
