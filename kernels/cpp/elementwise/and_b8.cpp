// and: y = a and b on booleans (any non-zero byte is true), broadcast.
#include "binary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static Bool f(Bool a, Bool b) { return {static_cast<uint8_t>((a.v != 0) & (b.v != 0))}; }
};
}  // namespace
EDGERUN_COMPARE(and, b8, Bool)
EDGERUN_ISA_END
