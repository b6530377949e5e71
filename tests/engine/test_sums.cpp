// CRC-32C and the sums over buffers: their definitions, on every instruction set this CPU has, and what they must detect.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "integrity/crc32c.h"
#include "integrity/word_sum.h"

using namespace edgerun;

namespace {

struct Rng {
  uint64_t state;
  uint64_t next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 11;
  }
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }
};

std::vector<unsigned char> noise(size_t n, uint64_t seed) {
  Rng rng{seed};
  std::vector<unsigned char> v(n);
  for (auto& b : v) b = static_cast<unsigned char>(rng.next());
  return v;
}

uint32_t bit_by_bit(const unsigned char* p, size_t n) {
  uint32_t crc = ~0u;
  for (size_t k = 0; k < n; ++k) {
    crc ^= p[k];
    for (int b = 0; b < 8; ++b) crc = crc & 1 ? 0x82F63B78u ^ (crc >> 1) : crc >> 1;
  }
  return ~crc;
}

struct Sums {
  uint64_t v[2] = {1, 1};
  Sums(WordSum sum, const void* data, size_t n) { sum(data, n, v); }
  bool operator==(const Sums& o) const { return v[0] == o.v[0] && v[1] == o.v[1]; }
};

void flip(std::vector<unsigned char>& v, size_t bit) { v[bit / 8] = static_cast<unsigned char>(v[bit / 8] ^ 1u << bit % 8); }

template <class Body>
void on_every_table(const Body& body) {
  const KernelTable* tables[8];
  const int32_t n = supported_tables(tables, 8);
  REQUIRE(n > 0);
  for (int32_t k = 0; k < n; ++k) {
    CAPTURE(tables[k]->isa);
    body(word_sum_of(*tables[k]));
  }
}

}  // namespace

TEST_CASE("CRC-32C of the vectors of RFC 3720") {
  std::vector<unsigned char> up(32), down(32);
  for (size_t k = 0; k < 32; ++k) up[k] = static_cast<unsigned char>(k), down[k] = static_cast<unsigned char>(31 - k);
  const std::vector<unsigned char> zeros(32, 0), ones(32, 0xFF);
  for (const auto crc : {&crc32c, &crc32c_by_table}) {
    CHECK(crc("123456789", 9, 0) == 0xE3069283u);
    CHECK(crc(zeros.data(), 32, 0) == 0x8A9136AAu);
    CHECK(crc(ones.data(), 32, 0) == 0x62A8AB43u);
    CHECK(crc(up.data(), 32, 0) == 0x46DD794Eu);
    CHECK(crc(down.data(), 32, 0) == 0x113FDB5Cu);
    CHECK(crc(nullptr, 0, 0) == 0);
  }
}

TEST_CASE("CRC-32C of any length, address and division is that of its bits") {
  const auto data = noise(3 * 4096 + 64, 5);
  MESSAGE(std::string(crc32c_method()));
  for (size_t n : {0u, 1u, 7u, 8u, 9u, 63u, 128u, 383u, 384u, 385u, 1000u, 4079u, 4080u, 4081u, 4096u, 8192u, 12288u})
    for (size_t at : {0u, 1u, 5u, 8u}) {
      CAPTURE(n);
      const uint32_t expected = bit_by_bit(data.data() + at, n);
      CHECK(crc32c(data.data() + at, n) == expected);
      CHECK(crc32c_by_table(data.data() + at, n) == expected);
      CHECK(crc32c(data.data() + at + n / 3, n - n / 3, crc32c(data.data() + at, n / 3)) == expected);
    }
}

TEST_CASE("sums over buffers see every flipped bit") {
  on_every_table([](WordSum sum) {
    for (size_t n : {1u, 4u, 8u, 31u, 64u, 100u, 257u}) {
      auto data = noise(n, n);
      const Sums was(sum, data.data(), n);
      size_t missed = 0;
      for (size_t bit = 0; bit < 8 * n; ++bit) {
        flip(data, bit);
        missed += Sums(sum, data.data(), n) == was;
        flip(data, bit);
      }
      CHECK(missed == 0);
      CHECK(Sums(sum, data.data(), n) == was);
    }
  });
}

TEST_CASE("sums over buffers see every pair of flipped bits of a small one") {
  on_every_table([](WordSum sum) {
    for (const unsigned char fill : {0x00, 0xFF, 0x80}) {
      std::vector<unsigned char> data(72, fill);
      const Sums was(sum, data.data(), data.size());
      size_t missed = 0;
      for (size_t a = 0; a < 8 * data.size(); ++a) {
        flip(data, a);
        for (size_t b = 0; b < a; ++b) {
          flip(data, b);
          missed += Sums(sum, data.data(), data.size()) == was;
          flip(data, b);
        }
        flip(data, a);
      }
      CHECK(missed == 0);
    }
  });
}

TEST_CASE("sums over buffers see pairs of highest bits at any distance, which a plain sum does not") {
  const auto plain = [](const std::vector<unsigned char>& v) {
    uint64_t sum = 0, word = 0;
    for (size_t k = 0; k < v.size(); k += 8, sum += word) std::memcpy(&word, &v[k], 8);
    return sum;
  };
  on_every_table([&](WordSum sum) {
    constexpr size_t n = 32768;
    auto data = noise(n, 3);
    const Sums was(sum, data.data(), n);
    const uint64_t plainly = plain(data);
    Rng rng{9};
    size_t missed = 0, missed_plainly = 0;
    for (int trial = 0; trial < 1000; ++trial) {
      const size_t bit = trial % 2 ? 31 : 63, words = size_t{1} << rng.below(11), at = rng.below(n / 8 - words);
      for (const size_t word : {at, at + words}) flip(data, 64 * word + bit);
      missed += Sums(sum, data.data(), n) == was;
      missed_plainly += plain(data) == plainly;
      for (const size_t word : {at, at + words}) flip(data, 64 * word + bit);
    }
    CHECK(missed == 0);
    CHECK(missed_plainly > 500);  // every pair of bit 63, half of those of bit 31
    CHECK(Sums(sum, data.data(), n) == was);
  });
}

TEST_CASE("sums over buffers see words that changed places, bursts and zeroed lines") {
  on_every_table([](WordSum sum) {
    constexpr size_t n = 4096;
    const auto data = noise(n, 8);
    const Sums was(sum, data.data(), n);
    Rng rng{4};
    size_t missed = 0;
    for (int trial = 0; trial < 2000; ++trial) {
      auto other = data;
      const size_t size = size_t{4} << rng.below(5), a = rng.below(n / size) * size, b = rng.below(n / size) * size;
      if (trial % 3 == 0) std::swap_ranges(other.begin() + static_cast<long>(a), other.begin() + static_cast<long>(a + size), other.begin() + static_cast<long>(b));
      else if (trial % 3 == 1) std::memset(other.data() + a, 0, size);
      else for (size_t k = 0; k < size; ++k) other[a + k] = static_cast<unsigned char>(rng.next());
      missed += other != data && Sums(sum, other.data(), n) == was;
    }
    CHECK(missed == 0);
  });
}
