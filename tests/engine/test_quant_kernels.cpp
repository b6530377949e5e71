// int8 products on every instruction set this CPU has, against plain loops: under qemu this is where Arm's dot product is checked.
#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernel.h"

using namespace edgerun;

namespace {

struct Rng {
  uint32_t state = 7;
  int32_t next(int32_t low, int32_t high) {
    state = state * 1664525u + 1013904223u;
    return low + static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(high - low + 1));
  }
};

struct Aligned {
  std::unique_ptr<char, decltype(&std::free)> bytes;
  explicit Aligned(size_t n) : bytes(static_cast<char*>(std::aligned_alloc(kCacheLine, (n / kCacheLine + 2) * kCacheLine)), &std::free) {}
};

TensorView view(void* data, DType dtype, std::vector<int64_t> dims) {
  TensorView v{data, {}, static_cast<int32_t>(dims.size()), dtype};
  for (size_t k = 0; k < dims.size(); ++k) v.dims[k] = dims[k];
  return v;
}

int32_t rescaled(int32_t t, int32_t m, int32_t left) {
  const int64_t most = (int64_t{1} << (31 - left)) - 1, limited = t < -most ? -most : t > most ? most : t;
  return static_cast<int32_t>((2 * (limited * (int64_t{1} << left)) * m + (int64_t{1} << 31)) >> 32);
}

struct Case {
  int64_t height, width, channels, columns, kernel, stride, pad;
  bool depthwise, is_signed;
};

// The kernel's result must be that of plain loops, byte for byte.
void check(const KernelTable& table, const Case& c) {
  const std::string name = std::string(c.depthwise ? "qconv2d_dw_" : "qconv2d_") + (c.is_signed ? "i8" : "u8");
  CAPTURE(table.isa);
  CAPTURE(name);
  CAPTURE(c.channels);
  const Kernel* kernel = find_kernel(table, name.c_str());
  REQUIRE(kernel);
  Rng rng;
  const int64_t oh = (c.height + 2 * c.pad - c.kernel) / c.stride + 1, ow = (c.width + 2 * c.pad - c.kernel) / c.stride + 1;
  const int64_t columns = c.depthwise ? c.channels : c.columns, depth = c.depthwise ? 1 : c.channels;
  std::vector<uint8_t> x(static_cast<size_t>(c.height * c.width * c.channels));
  for (auto& v : x) v = static_cast<uint8_t>(rng.next(0, 255));
  std::vector<int8_t> w(static_cast<size_t>(columns * c.kernel * c.kernel * depth));
  for (auto& v : w) v = static_cast<int8_t>(rng.next(-128, 127));
  std::vector<int32_t> bias(static_cast<size_t>(columns)), factors(static_cast<size_t>(2 * columns));
  for (auto& v : bias) v = rng.next(-5000, 5000);
  for (int64_t k = 0; k < columns; ++k) factors[static_cast<size_t>(k)] = rng.next(1 << 18, 1 << 21), factors[static_cast<size_t>(columns + k)] = k % 5 == 4;
  const int64_t strides[2] = {c.stride, c.stride}, pads[4] = {c.pad, c.pad, c.pad, c.pad}, group = 1;
  const int64_t x_zero = c.is_signed ? -7 : 130, y_zero = 3, low = c.is_signed ? -100 : 3, high = 120;
  const Attr attrs[] = {{"strides", strides, nullptr, 2}, {"pads", pads, nullptr, 4}, {"group", &group, nullptr, 1}, {"x_zero", &x_zero, nullptr, 1},
                        {"y_zero", &y_zero, nullptr, 1}, {"low", &low, nullptr, 1}, {"high", &high, nullptr, 1}};
  const DType byte = c.is_signed ? DType::i8 : DType::u8;
  const std::vector<int64_t> shape = c.depthwise ? std::vector<int64_t>{c.kernel, c.kernel, columns}
                                                 : std::vector<int64_t>{columns, c.kernel, c.kernel, depth};
  std::vector<uint8_t> y(static_cast<size_t>(oh * ow * columns));
  TensorView in[4] = {view(nullptr, byte, {1, c.height, c.width, c.channels}), view(w.data(), DType::i8, shape),
                      view(bias.data(), DType::i32, {columns}), view(factors.data(), DType::i32, {2, columns})};
  TensorView out = view(nullptr, byte, {1, oh, ow, columns});
  const Request request{{attrs, 7}, in, &out, 4, 1};
  Need need;
  REQUIRE(kernel->query(request, &need) == Status::ok);
  Aligned params(need.params), packed(need.packed), scratch(need.scratch);
  REQUIRE(kernel->prepare(request, params.bytes.get(), packed.bytes.get()) == Status::ok);
  in[0].data = x.data(), out.data = y.data();
  kernel->run({params.bytes.get(), packed.bytes.get(), in, &out, scratch.bytes.get(), 0, need.units, nullptr, 4, 1, nullptr});

  int64_t wrong = 0;
  for (int64_t oy = 0; oy < oh; ++oy)
    for (int64_t ox = 0; ox < ow; ++ox)
      for (int64_t n = 0; n < columns; ++n) {
        int32_t t = bias[static_cast<size_t>(n)];
        for (int64_t ky = 0; ky < c.kernel; ++ky)
          for (int64_t kx = 0; kx < c.kernel; ++kx)
            for (int64_t k = 0; k < depth; ++k) {
              const int64_t iy = oy * c.stride - c.pad + ky, ix = ox * c.stride - c.pad + kx;
              if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) continue;
              const uint8_t raw = x[static_cast<size_t>((iy * c.width + ix) * c.channels + (c.depthwise ? n : k))];
              const int32_t value = (c.is_signed ? static_cast<int8_t>(raw) : raw) - static_cast<int32_t>(x_zero);
              const int64_t at = c.depthwise ? (ky * c.kernel + kx) * columns + n : ((n * c.kernel + ky) * c.kernel + kx) * depth + k;
              t += value * w[static_cast<size_t>(at)];
            }
        int64_t q = rescaled(t, factors[static_cast<size_t>(n)], factors[static_cast<size_t>(columns + n)]) + y_zero;
        q = q < low ? low : q > high ? high : q;
        wrong += y[static_cast<size_t>((oy * ow + ox) * columns + n)] != static_cast<uint8_t>(q);
      }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("int8 products are exact on every instruction set") {
  const KernelTable* tables[8];
  const int32_t count = supported_tables(tables, 8);
  for (int32_t k = 0; k < count; ++k)
    for (const bool is_signed : {false, true}) {
      check(*tables[k], {9, 11, 3, 8, 3, 1, 1, false, is_signed});
      check(*tables[k], {8, 8, 16, 16, 3, 1, 1, false, is_signed});
      check(*tables[k], {7, 9, 13, 21, 3, 2, 1, false, is_signed});
      check(*tables[k], {5, 6, 32, 40, 1, 1, 0, false, is_signed});
      check(*tables[k], {1, 1, 70, 67, 1, 1, 0, false, is_signed});
      check(*tables[k], {9, 10, 19, 0, 3, 1, 1, true, is_signed});
      check(*tables[k], {12, 7, 32, 0, 3, 2, 1, true, is_signed});
    }
}

#if defined(__aarch64__)
TEST_CASE("a CPU with the dot product uses it") {
  const KernelTable* tables[8];
  REQUIRE(supported_tables(tables, 8) >= 1);
  if (supported_tables(tables, 8) == 2) CHECK(std::string(tables[0]->isa) == "neondot");
  else MESSAGE("no dot product on this CPU");
}
#endif
