// not: y = not x on booleans (any non-zero byte is true).
#include "unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static Bool f(Bool x) { return {static_cast<uint8_t>(x.v == 0)}; }
};
}  // namespace
EDGERUN_UNARY(not, b8, Bool)
EDGERUN_ISA_END
