// sin cos tan asin acos atan sinh cosh asinh acosh atanh of f32, by the C library. NaN outside of the function's domain.
#include "unary.h"

#define EDGERUN_LIBRARY(OP)                                           \
  EDGERUN_ISA_BEGIN                                                   \
  namespace {                                                         \
  struct Op_##OP {                                                    \
    static float f(float x) { return __builtin_##OP##f(x); }          \
  };                                                                  \
  }                                                                   \
  extern const Kernel OP##_f32_kernel{#OP "_f32", Unary<Op_##OP, float, float>::query, Unary<Op_##OP, float, float>::prepare, \
                                      Unary<Op_##OP, float, float>::run};                                                    \
  EDGERUN_ISA_END
EDGERUN_LIBRARY(sin)
EDGERUN_LIBRARY(cos)
EDGERUN_LIBRARY(tan)
EDGERUN_LIBRARY(asin)
EDGERUN_LIBRARY(acos)
EDGERUN_LIBRARY(atan)
EDGERUN_LIBRARY(sinh)
EDGERUN_LIBRARY(cosh)
EDGERUN_LIBRARY(asinh)
EDGERUN_LIBRARY(acosh)
EDGERUN_LIBRARY(atanh)
