// cast_f64_*: f64 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(f64, double, f32, float)
EDGERUN_CAST(f64, double, f64, double)
EDGERUN_CAST(f64, double, f16, Half)
EDGERUN_CAST(f64, double, bf16, Brain)
EDGERUN_CAST(f64, double, i8, int8_t)
EDGERUN_CAST(f64, double, u8, uint8_t)
EDGERUN_CAST(f64, double, i16, int16_t)
EDGERUN_CAST(f64, double, u16, uint16_t)
EDGERUN_CAST(f64, double, i32, int32_t)
EDGERUN_CAST(f64, double, u32, uint32_t)
EDGERUN_CAST(f64, double, i64, int64_t)
EDGERUN_CAST(f64, double, u64, uint64_t)
EDGERUN_CAST(f64, double, b8, Bool)
EDGERUN_ISA_END
