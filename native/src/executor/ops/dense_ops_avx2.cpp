#define HSAP_VECTOR_FLOATS 8
#define HSAP_DENSE_OPS denseOpsAvx2
#include "ops/dense_ops.inc"
