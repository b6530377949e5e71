// Operands and attributes that the int8 convolutions and matmul share, read and checked once.
#pragma once
#include "conv/conv_shape.h"
#include "quant/checksum_i8.h"
#include "quant/igemm.h"

EDGERUN_ISA_BEGIN

struct QuantParams {
  bool signed_x;
  int32_t x_zero;
  Narrow narrow;
  bool raw;  // y is int32
  bool verify;  // rescaled results (attribute verify_rescale)
};

// x i8 or u8, weights i8 or i16 (constant), bias i32? and factors i32 [2, columns]? constant, y bytes, or i32 without factors.
static inline Status quant_operands(const Request& r, DType dtype, const char* zero_name, int64_t columns, QuantParams* q) {
  EDGERUN_TRY(arity(r, 2, 4, 1));
  const TensorView &x = r.in[0], &w = r.in[1], &y = r.out[0];
  EDGERUN_TRY(sound(x, dtype));
  EDGERUN_TRY(sound(w));
  EDGERUN_TRY(sound(y));
  q->signed_x = x.dtype == DType::i8;
  q->raw = y.dtype == DType::i32;
  q->verify = r.attrs.i("verify_rescale") != 0;
  q->narrow = {};  // params are raw memory, and sums are stored as they are
  if (!q->raw && y.dtype != DType::i8 && y.dtype != DType::u8) return Status::bad_dtype;
  EDGERUN_TRY(byte_attribute(r, zero_name, x.dtype, 0, &q->x_zero));
  if (r.has(2)) {
    EDGERUN_TRY(sound(r.in[2], DType::i32));
    if (r.in[2].elements() != columns) return Status::bad_shape;
    if (!r.in[2].data && columns != 0) return Status::not_constant;
  }
  if (q->raw) return r.has(3) ? Status::bad_arity : Status::ok;
  if (!r.has(3)) return Status::bad_arity;
  EDGERUN_TRY(sound_factors(r.in[3], columns));
  Narrow& n = q->narrow;
  n.is_signed = y.dtype == DType::i8;
  EDGERUN_TRY(byte_attribute(r, "y_zero", y.dtype, 0, &n.zero));
  EDGERUN_TRY(byte_attribute(r, "low", y.dtype, n.is_signed ? -128 : 0, &n.low));
  EDGERUN_TRY(byte_attribute(r, "high", y.dtype, n.is_signed ? 127 : 255, &n.high));
  return n.low <= n.high ? Status::ok : Status::bad_attribute;
}

// What the audit of a product needs of its operands, all but the axes of a convolution.
static inline IntAudit audit_of(const Request& r, const QuantParams& q) {
  IntAudit a{};
  a.on = int_audit_wanted(r);
  a.is_signed = q.signed_x;
  a.zero = q.x_zero;
  a.batch = a.pixels = a.group = 1;
  return a;
}

static inline IntAudit audit_of(const Request& r, const QuantParams& q, const ConvShape& s, int32_t tile) {
  IntAudit a = audit_of(r, q);
  a.pixels = s.out_height * s.out_width, a.batch = s.batch;
  a.channels = s.channels, a.group = s.group, a.columns = s.out_channels / most(s.group, 1);
  a.rows = {s.height, s.out_height, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top, tile};
  a.across = {s.width, s.out_width, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left, tile};
  return a;
}

// The part of a product that says what is watched.
EDGERUN_SIMD void watch(const Run& r, const QuantParams& q, const IntAudit& a, IntProduct* g) {
  g->sink = r.sink;
  g->seen = seen_of(r, a.on);
  g->verify = q.verify && !q.raw && r.sink;
}

// Words of an input row with its margins; too_large where the rows of one window could not be addressed.
static inline Status row_words(const ConvShape& s, int64_t* words) {
  int64_t all;
  if (__builtin_mul_overflow(most(s.padded_width(), 0), s.channels, words)) return Status::too_large;
  if (__builtin_mul_overflow(*words, s.span_h(), &all) || all > int64_t{1} << 56) return Status::too_large;
  return Status::ok;
}

static inline bool any_shift(const Request& r, bool raw) {
  if (raw) return false;
  const TensorView& f = r.in[3];
  for (int64_t k = 0; k < f.dims[1]; ++k)
    if (f.as<const int32_t>()[f.dims[1] + k]) return true;
  return false;
}

static inline Status constant_weights(const TensorView& w) {
  if (w.dtype != DType::i8 && w.dtype != DType::i16) return Status::bad_dtype;
  return !w.data && w.elements() != 0 ? Status::not_constant : Status::ok;
}

static inline int32_t weight_at(const TensorView& w, int64_t k) {
  return w.dtype == DType::i8 ? w.as<const int8_t>()[k] : w.as<const int16_t>()[k];
}

// No sum may leave int32, whatever the bytes: 255 sum |w| + |bias| < 2^31 for every column; weight(k, column) for k < count.
template <class At>
EDGERUN_SIMD Status bounded_sums(int64_t columns, int64_t count, const TensorView* bias, const At& weight) {
  for (int64_t n = 0; n < columns; ++n) {
    int64_t sum = 0;
    for (int64_t k = 0; k < count; ++k) {
      const int32_t w = weight(k, n);
      sum += w < 0 ? -w : w;
      if (sum > INT32_MAX / 255) return Status::too_large;
    }
    const int64_t b = bias ? bias->as<const int32_t>()[n] : 0;
    if (255 * sum + (b < 0 ? -b : b) > INT32_MAX) return Status::too_large;
  }
  return Status::ok;
}

EDGERUN_ISA_END
