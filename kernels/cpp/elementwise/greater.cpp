// greater: y = a > b as a boolean, broadcast; false when either is NaN.
#include "binary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  template <class T> static Bool f(T a, T b) { return {static_cast<uint8_t>(a > b)}; }
};
}  // namespace
EDGERUN_FOR_NUMBERS(greater, EDGERUN_COMPARE)
EDGERUN_ISA_END
