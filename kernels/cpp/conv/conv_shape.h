// The geometry of a 2-D convolution, read and checked once.
#pragma once
#include "activation.h"
#include "operand.h"

EDGERUN_ISA_BEGIN

struct ConvShape {
  int64_t batch, height, width, channels;              // x
  int64_t out_height, out_width, out_channels;         // y
  int64_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int64_t pad_top, pad_left, group;

  EDGERUN_INLINE int64_t span_h() const { return (kernel_h - 1) * dilation_h + 1; }
  EDGERUN_INLINE int64_t span_w() const { return (kernel_w - 1) * dilation_w + 1; }
  // Width a row must have so that every tap of every output pixel lies in it.
  EDGERUN_INLINE int64_t padded_width() const { return (out_width - 1) * stride_w + span_w(); }
};

inline constexpr int64_t kLargestWindow = int64_t{1} << 24;  // kernel, stride, dilation, padding: no product overflows

static inline Status conv_operands(const Request& r) {
  EDGERUN_TRY(arity(r, 2, 4, 1));
  EDGERUN_TRY(sound(r.in[0], DType::f32));
  EDGERUN_TRY(sound(r.in[1], DType::f32));
  EDGERUN_TRY(sound(r.out[0], DType::f32));
  if (r.in[0].rank != 4 || r.out[0].rank != 4) return Status::bad_rank;
  if (!r.in[1].data && r.in[1].elements() != 0) return Status::not_constant;
  const int64_t co = r.out[0].dims[3];
  if (r.has(2)) {
    EDGERUN_TRY(sound(r.in[2], DType::f32));
    if (r.in[2].elements() != co) return Status::bad_shape;
  }
  if (r.has(3)) {
    EDGERUN_TRY(sound(r.in[3], DType::f32));
    if (!same_dims(r.in[3], r.out[0])) return Status::bad_shape;
  }
  return Status::ok;
}

// Everything but the kernel's size; pads are (top, left, bottom, right). The caller has set kernel_h and kernel_w.
static inline Status conv_geometry(const Request& r, bool transposed, ConvShape* s) {
  const TensorView &x = r.in[0], &y = r.out[0];
  s->batch = x.dims[0], s->height = x.dims[1], s->width = x.dims[2], s->channels = x.dims[3];
  s->out_height = y.dims[1], s->out_width = y.dims[2], s->out_channels = y.dims[3];
  int64_t strides[2] = {1, 1}, pads[4] = {0, 0, 0, 0}, dilations[2] = {1, 1};
  if (r.attrs.find("strides") && !ints(r, "strides", 2, strides)) return Status::bad_attribute;
  if (r.attrs.find("pads") && !ints(r, "pads", 4, pads)) return Status::bad_attribute;
  if (r.attrs.find("dilations") && !ints(r, "dilations", 2, dilations)) return Status::bad_attribute;
  const int64_t steps[4] = {strides[0], strides[1], dilations[0], dilations[1]};
  for (const int64_t v : steps)
    if (v < 1 || v > kLargestWindow) return Status::bad_attribute;
  for (const int64_t v : pads)
    if (v < 0 || v > kLargestWindow) return Status::bad_attribute;
  if (s->kernel_h < 1 || s->kernel_w < 1) return Status::bad_shape;
  if (s->kernel_h > kLargestWindow || s->kernel_w > kLargestWindow) return Status::too_large;
  s->stride_h = strides[0], s->stride_w = strides[1];
  s->dilation_h = dilations[0], s->dilation_w = dilations[1];
  s->pad_top = pads[0], s->pad_left = pads[1];
  if (y.dims[0] != x.dims[0]) return Status::bad_shape;
  if (!transposed) {
    const int64_t room_h = s->height + pads[0] + pads[2] - s->span_h(), room_w = s->width + pads[1] + pads[3] - s->span_w();
    const int64_t oh = room_h < 0 ? 0 : room_h / s->stride_h + 1, ow = room_w < 0 ? 0 : room_w / s->stride_w + 1;
    if (oh != s->out_height || ow != s->out_width) return Status::bad_shape;
  }
  return Status::ok;
}

EDGERUN_ISA_END
