/* Counts calls of MPI by the profiling interface that every MPI has: loaded before a rank's program, it prints a line
 * at the end. */
#include <mpi.h>
#include <stdio.h>

static int isends, irecvs, allGathers, allToAlls, communicators;

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request) {
  ++isends;
  return PMPI_Isend(data, count, type, to, tag, comm, request);
}
int MPI_Irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request) {
  ++irecvs;
  return PMPI_Irecv(data, count, type, from, tag, comm, request);
}
int MPI_Iallgatherv(const void *out, int count, MPI_Datatype a, void *in, const int counts[], const int places[],
                    MPI_Datatype b, MPI_Comm comm, MPI_Request *request) {
  ++allGathers;
  return PMPI_Iallgatherv(out, count, a, in, counts, places, b, comm, request);
}
int MPI_Ialltoallv(const void *out, const int outCounts[], const int outPlaces[], MPI_Datatype a, void *in,
                   const int inCounts[], const int inPlaces[], MPI_Datatype b, MPI_Comm comm, MPI_Request *request) {
  ++allToAlls;
  return PMPI_Ialltoallv(out, outCounts, outPlaces, a, in, inCounts, inPlaces, b, comm, request);
}
int MPI_Comm_create_group(MPI_Comm comm, MPI_Group group, int tag, MPI_Comm *made) {
  ++communicators;
  return PMPI_Comm_create_group(comm, group, tag, made);
}
int MPI_Finalize(void) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  fprintf(stderr,
          "calls {\"rank\":%d,\"isends\":%d,\"irecvs\":%d,\"allGathers\":%d,\"allToAlls\":%d,\"communicators\":%d}\n",
          rank, isends, irecvs, allGathers, allToAlls, communicators);
  return PMPI_Finalize();
}
