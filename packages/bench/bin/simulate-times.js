// simulate-times.js STRATEGY PACK PASS: what simulations in this process took, the first one of all among them, as JSON.
import { timeSimulations } from "../dist/simulate-times.js";

const [strategy, pack, pass] = process.argv.slice(2);
process.stdout.write(JSON.stringify(timeSimulations(strategy, pack, pass)));
