// Runs one layer on one kernel N times: run_kernel LAYER f32|i8 N. Without arguments it lists the layers: name, multiply-adds.
// What N runs cost more than none is the kernel alone: tools/dev/count_instructions. EDGERUN_ISA chooses the instruction set.
#include <cstdio>
#include <cstring>
#include <string>

#include "kernel_call.h"

using namespace edgerun;

namespace {

struct Layer {
  const char* name;
  int64_t height, width, channels, columns, kernel;  // stride 1, padded to the same size
  enum { conv, depthwise, matmul } kind;

  int64_t outputs() const { return height * width * columns; }
  int64_t depth() const { return kernel * kernel * (kind == depthwise ? 1 : channels); }
};
constexpr Layer kLayers[] = {
    {"3x3 16-16, 32x32", 32, 32, 16, 16, 3, Layer::conv},
    {"3x3 64-64, 8x8", 8, 8, 64, 64, 3, Layer::conv},
    {"1x1 64-64, 25x5", 25, 5, 64, 64, 1, Layer::conv},
    {"1x1 256-256, 7x7", 7, 7, 256, 256, 1, Layer::conv},
    {"depthwise 3x3 64, 25x5", 25, 5, 64, 64, 3, Layer::depthwise},
    {"fully connected 128-128", 1, 1, 128, 128, 1, Layer::matmul},
    {"fully connected 640-128", 1, 1, 640, 128, 1, Layer::matmul},
};

std::vector<int64_t> weight_shape(const Layer& l) {
  if (l.kind == Layer::matmul) return {l.channels, l.columns};
  if (l.kind == Layer::depthwise) return {l.kernel, l.kernel, l.columns};
  return {l.columns, l.kernel, l.kernel, l.channels};
}
std::vector<int64_t> image(const Layer& l, int64_t channels) {
  if (l.kind == Layer::matmul) return {1, channels};
  return {1, l.height, l.width, channels};
}

// A layer as trained networks have it: weights of all sizes, a bias, ReLU, and (int8) one scale for each output channel.
int run(const Layer& l, bool is_float, int64_t n) {
  static const char* const kNames[][2] = {{"qconv2d_i8", "conv2d_f32"}, {"qconv2d_dw_i8", "conv2d_dw_f32"}, {"qmatmul_i8", "matmul_f32"}};
  const Kernel* kernel = find_kernel(kernels(), kNames[l.kind][is_float]);
  Rng rng;
  const int64_t pad = l.kernel / 2, inputs = l.height * l.width * l.channels, weights = l.columns * l.depth();
  auto x = rng.list<int8_t>(inputs, -128, 127), w = rng.list<int8_t>(weights, -30, 30);
  auto bias = rng.list<int32_t>(l.columns, -5000, 5000), factors = rng.list<int32_t>(2 * l.columns, 1 << 18, 1 << 21);
  for (size_t k = static_cast<size_t>(l.columns); k < factors.size(); ++k) factors[k] = 0;
  std::vector<float> xf(x.begin(), x.end()), wf(w.begin(), w.end()), bias_f(bias.begin(), bias.end());
  std::vector<float> y(static_cast<size_t>(l.outputs()));
  const DType in = is_float ? DType::f32 : DType::i8;
  std::vector<TensorView> operands{view(nullptr, in, image(l, l.channels)),
                                   view(is_float ? static_cast<void*>(wf.data()) : w.data(), in, weight_shape(l)),
                                   view(is_float ? static_cast<void*>(bias_f.data()) : bias.data(), is_float ? DType::f32 : DType::i32, {l.columns})};
  if (!is_float) operands.push_back(view(factors.data(), DType::i32, {2, l.columns}));
  const IntAttrs attrs = is_float ? IntAttrs{{"strides", {1, 1}}, {"pads", {pad, pad, pad, pad}}, {"activation", {1}}}
                                  : IntAttrs{{"strides", {1, 1}}, {"pads", {pad, pad, pad, pad}}, {"x_zero", {-5}}, {"a_zero", {-5}}, {"low", {0}}};
  void* input = is_float ? static_cast<void*>(xf.data()) : x.data();
  const KernelCall call(kernel, attrs, operands, input, view(y.data(), in, image(l, l.columns)));
  if (call.status != Status::ok) return std::fprintf(stderr, "%s: status %d\n", kernel->name, static_cast<int>(call.status)), 1;
  for (int64_t k = 0; k < n; ++k) call.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  for (const Layer& l : kLayers) {
    if (argc == 4 && l.name == std::string(argv[1])) return run(l, !std::strcmp(argv[2], "f32"), std::atoll(argv[3]));
    if (argc == 1) std::printf("%s\t%lld\n", l.name, static_cast<long long>(l.outputs() * l.depth()));
  }
  return argc == 1 ? 0 : 2;
}
