// One kernel called as the engine calls it: query, prepare, then run.
#pragma once
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernel.h"

namespace edgerun {

struct Rng {
  uint32_t state = 7;
  int32_t next(int32_t low, int32_t high) {
    state = state * 1664525u + 1013904223u;
    return low + static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(high - low + 1));
  }
  template <class T> std::vector<T> list(int64_t n, int32_t low, int32_t high) {
    std::vector<T> all(static_cast<size_t>(n));
    for (auto& v : all) v = static_cast<T>(next(low, high));
    return all;
  }
};

inline TensorView view(void* data, DType dtype, std::vector<int64_t> dims) {
  TensorView v{data, {}, static_cast<int32_t>(dims.size()), dtype};
  for (size_t k = 0; k < dims.size(); ++k) v.dims[k] = dims[k];
  return v;
}

// Integer attributes; the lists live as long as this does.
struct IntAttrs {
  struct Item {
    const char* name;
    std::vector<int64_t> values;
  };
  std::vector<Item> items;
  std::vector<Attr> attrs;
  explicit IntAttrs(std::initializer_list<Item> list) : items(list) {
    for (const Item& i : items) attrs.push_back({i.name, i.values.data(), nullptr, static_cast<int32_t>(i.values.size())});
  }
};

// in[0] is the input known at run time only: `input` is its data. All other operands are constants.
class KernelCall {
 public:
  KernelCall(const Kernel* kernel, const IntAttrs& attrs, std::vector<TensorView> operands, void* input, TensorView result)
      : kernel_(kernel), in_(std::move(operands)), out_(result) {
    void* output = out_.data;
    in_[0].data = out_.data = nullptr;
    const Request request{{attrs.attrs.data(), static_cast<int32_t>(attrs.attrs.size())}, in_.data(), &out_, count(), 1};
    status = kernel->query(request, &need_);
    if (status != Status::ok) return;
    params_ = block(need_.params), packed_ = block(need_.packed), scratch_ = block(need_.scratch);
    status = kernel->prepare(request, params_.get(), packed_.get());
    in_[0].data = input, out_.data = output;
  }
  void run() const {
    kernel_->run({params_.get(), packed_.get(), in_.data(), &out_, scratch_.get(), 0, need_.units, nullptr, count(), 1, nullptr});
  }
  Status status;

 private:
  using Block = std::unique_ptr<void, decltype(&std::free)>;
  static Block block(size_t n) { return Block(std::aligned_alloc(kCacheLine, (n / kCacheLine + 2) * kCacheLine), &std::free); }
  int32_t count() const { return static_cast<int32_t>(in_.size()); }

  const Kernel* kernel_;
  std::vector<TensorView> in_;
  TensorView out_;
  Need need_;
  Block params_{nullptr, &std::free}, packed_{nullptr, &std::free}, scratch_{nullptr, &std::free};
};

}  // namespace edgerun
