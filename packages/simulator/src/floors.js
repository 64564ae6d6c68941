import { accountOf, flopsOf, ranksOf } from "@hsap/schedule";
import { flopsPerPair } from "./kernel-time.js";
/** `measuredUs` stands for the kernel where it is given: then the floor of computation is the busiest rank's measured time. */
export function floorsOf(schedule, kernel, carried, capacity, measuredUs) {
    const { problem } = schedule;
    const flopsPerUs = 1e6 * problem.cluster.device.peakTflops * kernel[problem.pass].shareOfPeak;
    const account = accountOf(schedule);
    let bandwidthUs = 0;
    carried.forEach((bytes, link) => {
        bandwidthUs = Math.max(bandwidthUs, bytes / capacity[link]);
    });
    return {
        computationUs: measuredUs === undefined
            ? (account.area.max * flopsPerPair(problem.shape.headDim, problem.pass)) / flopsPerUs
            : busiestUs(schedule, measuredUs),
        bandwidthUs,
        problemUs: flopsOf(problem) / ranksOf(problem) / flopsPerUs,
    };
}
function busiestUs({ opBegin, ops }, measuredUs) {
    let busiest = 0;
    for (let rank = 0; rank + 1 < opBegin.length; rank++) {
        let sum = 0;
        for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++)
            if (ops.group[row] < 0)
                sum += measuredUs[row];
        busiest = Math.max(busiest, sum);
    }
    return busiest;
}
//# sourceMappingURL=floors.js.map