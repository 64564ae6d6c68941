#define HSAP_VECTOR_FLOATS 4
#define HSAP_DENSE_OPS denseOpsScalar
#include "dense_ops.inc"
