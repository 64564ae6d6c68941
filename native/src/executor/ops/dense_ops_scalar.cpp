#define HSAP_VECTOR_FLOATS 4
#define HSAP_DENSE_OPS denseOpsScalar
#include "ops/dense_ops.inc"
