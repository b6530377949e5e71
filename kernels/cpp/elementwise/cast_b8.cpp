// cast_b8_*: b8 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(b8, Bool, f32, float)
EDGERUN_CAST(b8, Bool, f64, double)
EDGERUN_CAST(b8, Bool, f16, Half)
EDGERUN_CAST(b8, Bool, bf16, Brain)
EDGERUN_CAST(b8, Bool, i8, int8_t)
EDGERUN_CAST(b8, Bool, u8, uint8_t)
EDGERUN_CAST(b8, Bool, i16, int16_t)
EDGERUN_CAST(b8, Bool, u16, uint16_t)
EDGERUN_CAST(b8, Bool, i32, int32_t)
EDGERUN_CAST(b8, Bool, u32, uint32_t)
EDGERUN_CAST(b8, Bool, i64, int64_t)
EDGERUN_CAST(b8, Bool, u64, uint64_t)
EDGERUN_CAST(b8, Bool, b8, Bool)
EDGERUN_ISA_END
