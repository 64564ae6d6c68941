/**
 * One of two ranks that `hsap doctor` starts: they exchange bytes, and rank 0 prints what their MPI can do.
 */
import { joinMpi } from "@hsap/engine";

const world = joinMpi({ timeoutS: 10 });
const { library, standard, threadLevel, rank, ranks, nodeRanks } = world;
const gathered = await world.gather(Uint8Array.of(rank));
if (rank === 0) {
  const arrived = gathered.map(([byte]) => byte).join();
  if (ranks !== 2 || arrived !== "0,1")
    world.fail(`hsap: ${library} sees ${ranks} ranks, and got "${arrived}" from them`);
  console.log(JSON.stringify({ library, standard, threadLevel, sharesMemory: nodeRanks === ranks }));
}
await world.finish();
