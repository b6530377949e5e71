// int8 products on every instruction set this CPU has, against plain loops: under qemu this is where Arm's dot product and matrix
// product are checked.
#include <doctest/doctest.h>

#include <string>

#include "kernel_call.h"

using namespace edgerun;

namespace {

int32_t rescaled(int32_t t, int32_t m, int32_t left) {
  const int64_t most = (int64_t{1} << (31 - left)) - 1, limited = t < -most ? -most : t > most ? most : t;
  return static_cast<int32_t>((2 * (limited * (int64_t{1} << left)) * m + (int64_t{1} << 31)) >> 32);
}

// (m, left) of every column.
std::vector<int32_t> factors_of(Rng& rng, int64_t columns) {
  std::vector<int32_t> f = rng.list<int32_t>(2 * columns, 1 << 18, 1 << 21);
  for (int64_t k = 0; k < columns; ++k) f[static_cast<size_t>(columns + k)] = k % 5 == 4;
  return f;
}

struct Rest {  // of a kernel's definition, behind the sums
  int64_t y_zero, low, high;
  uint8_t byte(int32_t t, int32_t m, int32_t left) const {
    const int64_t q = rescaled(t, m, left) + y_zero;
    return static_cast<uint8_t>(q < low ? low : q > high ? high : q);
  }
};

struct Conv {
  int64_t height, width, channels, columns, kernel, stride, pad;
  bool depthwise, is_signed;
};

// The kernel's result must be that of plain loops, byte for byte.
void check(const KernelTable& table, const Conv& c) {
  const std::string name = std::string(c.depthwise ? "qconv2d_dw_" : "qconv2d_") + (c.is_signed ? "i8" : "u8");
  CAPTURE(std::string(table.isa));
  CAPTURE(name);
  CAPTURE(c.channels);
  const Kernel* kernel = find_kernel(table, name.c_str());
  REQUIRE(kernel);
  Rng rng;
  const int64_t oh = (c.height + 2 * c.pad - c.kernel) / c.stride + 1, ow = (c.width + 2 * c.pad - c.kernel) / c.stride + 1;
  const int64_t columns = c.columns, depth = c.depthwise ? 1 : c.channels;
  auto x = rng.list<uint8_t>(c.height * c.width * c.channels, 0, 255);
  auto w = rng.list<int8_t>(columns * c.kernel * c.kernel * depth, -128, 127);
  auto bias = rng.list<int32_t>(columns, -5000, 5000);
  auto factors = factors_of(rng, columns);
  const int64_t x_zero = c.is_signed ? -7 : 130;
  const Rest rest{3, c.is_signed ? -100 : 3, 120};
  const IntAttrs attrs{{"strides", {c.stride, c.stride}}, {"pads", {c.pad, c.pad, c.pad, c.pad}}, {"group", {1}}, {"x_zero", {x_zero}},
                       {"y_zero", {rest.y_zero}}, {"low", {rest.low}}, {"high", {rest.high}}};
  const DType byte = c.is_signed ? DType::i8 : DType::u8;
  const std::vector<int64_t> shape = c.depthwise ? std::vector<int64_t>{c.kernel, c.kernel, columns}
                                                 : std::vector<int64_t>{columns, c.kernel, c.kernel, depth};
  std::vector<uint8_t> y(static_cast<size_t>(oh * ow * columns));
  const KernelCall call(kernel, attrs, {view(nullptr, byte, {1, c.height, c.width, c.channels}), view(w.data(), DType::i8, shape),
                                        view(bias.data(), DType::i32, {columns}), view(factors.data(), DType::i32, {2, columns})},
                        x.data(), view(y.data(), byte, {1, oh, ow, columns}));
  REQUIRE(call.status == Status::ok);
  call.run();

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
              const uint8_t raw = x[static_cast<size_t>((iy * c.width + ix) * c.channels + (c.depthwise ? n * c.channels / columns : k))];
              const int32_t value = (c.is_signed ? static_cast<int8_t>(raw) : raw) - static_cast<int32_t>(x_zero);
              const int64_t at = c.depthwise ? (ky * c.kernel + kx) * columns + n : ((n * c.kernel + ky) * c.kernel + kx) * depth + k;
              t += value * w[static_cast<size_t>(at)];
            }
        const uint8_t q = rest.byte(t, factors[static_cast<size_t>(n)], factors[static_cast<size_t>(columns + n)]);
        wrong += y[static_cast<size_t>((oy * ow + ox) * columns + n)] != q;
      }
  CHECK(wrong == 0);
}

// The same of a matrix product; without factors its sums.
void check(const KernelTable& table, int64_t rows, int64_t depth, int64_t columns, bool is_signed, bool sums) {
  CAPTURE(std::string(table.isa));
  CAPTURE(rows);
  CAPTURE(depth);
  CAPTURE(columns);
  const Kernel* kernel = find_kernel(table, is_signed ? "qmatmul_i8" : "qmatmul_u8");
  REQUIRE(kernel);
  Rng rng;
  auto a = rng.list<uint8_t>(rows * depth, 0, 255);
  auto b = rng.list<int8_t>(depth * columns, -128, 127);
  auto bias = rng.list<int32_t>(columns, -5000, 5000);
  auto factors = factors_of(rng, columns);
  const int64_t a_zero = is_signed ? 11 : 100;
  const Rest rest{-2, -128, 127};
  const IntAttrs attrs{{"a_zero", {a_zero}}, {"y_zero", {rest.y_zero}}};
  std::vector<TensorView> operands{view(nullptr, is_signed ? DType::i8 : DType::u8, {rows, depth}), view(b.data(), DType::i8, {depth, columns}),
                                   view(bias.data(), DType::i32, {columns}), view(factors.data(), DType::i32, {2, columns})};
  if (sums) operands.pop_back();
  std::vector<int32_t> wide(static_cast<size_t>(rows * columns));
  std::vector<int8_t> narrow(static_cast<size_t>(rows * columns));
  void* y = sums ? static_cast<void*>(wide.data()) : narrow.data();
  const KernelCall call(kernel, attrs, operands, a.data(), view(y, sums ? DType::i32 : DType::i8, {rows, columns}));
  REQUIRE(call.status == Status::ok);
  call.run();

  int64_t wrong = 0;
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < columns; ++n) {
      int32_t t = bias[static_cast<size_t>(n)];
      for (int64_t k = 0; k < depth; ++k) {
        const uint8_t raw = a[static_cast<size_t>(m * depth + k)];
        t += ((is_signed ? static_cast<int8_t>(raw) : raw) - static_cast<int32_t>(a_zero)) * b[static_cast<size_t>(k * columns + n)];
      }
      const size_t at = static_cast<size_t>(m * columns + n);
      if (sums) wrong += wide[at] != t;
      else wrong += static_cast<uint8_t>(narrow[at]) != rest.byte(t, factors[static_cast<size_t>(n)], factors[static_cast<size_t>(columns + n)]);
    }
  CHECK(wrong == 0);
}

template <class Test>
void on_every_table(const Test& test) {
  const KernelTable* tables[8];
  const int32_t count = supported_tables(tables, 8);
  for (int32_t k = 0; k < count; ++k)
    for (const bool is_signed : {false, true}) test(*tables[k], is_signed);
}

}  // namespace

TEST_CASE("int8 convolutions are exact on every instruction set") {
  on_every_table([](const KernelTable& table, bool is_signed) {
    check(table, {9, 11, 3, 8, 3, 1, 1, false, is_signed});
    check(table, {8, 8, 16, 16, 3, 1, 1, false, is_signed});
    check(table, {7, 9, 13, 21, 3, 2, 1, false, is_signed});
    check(table, {5, 6, 32, 40, 1, 1, 0, false, is_signed});
    check(table, {1, 1, 70, 67, 1, 1, 0, false, is_signed});
    check(table, {9, 10, 19, 19, 3, 1, 1, true, is_signed});
    check(table, {12, 7, 32, 32, 3, 2, 1, true, is_signed});
  });
}

TEST_CASE("int8 depthwise convolutions are exact for every width of a tile, on every instruction set") {
  on_every_table([](const KernelTable& table, bool is_signed) {
    for (int64_t width = 1; width <= 17; ++width)
      for (const int64_t channels : {3, 8, 12, 27})
        for (const int64_t kernel : {1, 3, 5}) {
          check(table, {6, width, channels, channels, kernel, 1, kernel / 2, true, is_signed});
          check(table, {6, width, channels, channels * 2, kernel, 2, kernel / 2, true, is_signed});
        }
  });
}

TEST_CASE("int8 matrix products are exact for every height of a tile, on every instruction set") {
  on_every_table([](const KernelTable& table, bool is_signed) {
    for (int64_t rows = 1; rows <= 17; ++rows)
      for (const int64_t depth : {1, 7, 8, 9, 31, 48, 70})
        for (const int64_t columns : {1, 4, 7, 8, 21, 35, 70}) check(table, rows, depth, columns, is_signed, (rows + depth + columns) % 3 == 0);
  });
}
