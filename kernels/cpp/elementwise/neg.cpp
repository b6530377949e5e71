// neg: y = −x; integers wrap.
#include "unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  template <class T> static T f(T x) {
    if constexpr (TypeOf<T>::is_float)
      return -x;
    else
      return static_cast<T>(typename TypeOf<T>::Wrap{0} - static_cast<typename TypeOf<T>::Wrap>(x));
  }
};
}  // namespace
EDGERUN_FOR_NUMBERS(neg, EDGERUN_UNARY)
EDGERUN_ISA_END
