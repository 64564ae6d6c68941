#define HSAP_VECTOR_FLOATS 16
#define HSAP_DENSE_OPS denseOpsAvx512
#include "ops/dense_ops.inc"
