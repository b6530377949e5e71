// lut_x32: y = table[x] for bytes x (as unsigned) and 256 entries of four bytes.
#include "quant/lut.h"

EDGERUN_ISA_BEGIN
namespace {
Status query(const Request& r, Need* need) {
  EDGERUN_TRY(lut_operands(r, 4));
  need_unary(r, 2, need);
  return Status::ok;
}
Status prepare(const Request& r, void*, void*) { return lut_operands(r, 4); }

void run(const Run& r) {
  const int64_t end = least(r.end * kBlock, r.out[0].elements());
  const uint8_t* x = r.in[0].as<const uint8_t>();
  const uint32_t* table = r.in[1].as<const uint32_t>();
  uint32_t* y = r.out[0].as<uint32_t>();
  int64_t k = r.begin * kBlock;
  for (; k + 8 <= end; k += 8) {  // eight loads, then eight stores: neither waits for the other
    uint32_t got[8];
    for (int c = 0; c < 8; ++c) got[c] = table[x[k + c]];
    __builtin_memcpy(y + k, got, sizeof got);
  }
  for (; k < end; ++k) y[k] = table[x[k]];
}
}  // namespace
extern const Kernel lut_x32_kernel{"lut_x32", query, prepare, run};
EDGERUN_ISA_END
