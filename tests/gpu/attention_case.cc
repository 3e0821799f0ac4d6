// Pages, queries and units for single attention kernels.
#include "tests/gpu/attention_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_tile.h"

namespace longleaf::kernels::cuda {

AttentionCase::AttentionCase(const Sequence& sequence, int64_t first, int64_t rows, int64_t layers)
    : sequence_(sequence), first_(first), rows_(rows), layer_(layers - 1) {
  const AttentionDims& dims = sequence.dims;
  StateShape shape;
  shape.layers = layers;
  shape.query_heads = dims.query_heads;
  shape.kv_heads = dims.kv_heads;
  shape.head_dim = dims.head_dim;
  shape.policy = sequence.policy;
  shape.dtype = dims.dtype;
  shape_ = StepShapeOf(shape);
  core_table_ =
      UploadPages(sequence.cores, shape_.core, 0, sequence.policy.CoresVisible(first + rows));
  raw_table_ =
      UploadPages(sequence.raw, shape_.raw, sequence.policy.FirstRaw(first + 1), first + rows);
  StepItem item;
  item.first_token = first;
  item.rows = static_cast<int32_t>(rows);
  item.core_pages = core_table_.as<std::byte*>();
  item.raw_pages = raw_table_.as<std::byte*>();
  items_ = Upload(&item, sizeof item);
  qkv_ = Upload(sequence.query.data() + first * sequence.stride,
                static_cast<size_t>(rows * sequence.stride) * sizeof(float));
}

DeviceMemory AttentionCase::Upload(const void* from, size_t bytes) {
  DeviceMemory memory =
      DeviceMemory::Allocate(std::max<int64_t>(1, static_cast<int64_t>(bytes))).value();
  EXPECT_TRUE(Copy(memory.data(), from, static_cast<int64_t>(bytes), stream_.get()).ok());
  EXPECT_TRUE(stream_.Synchronize().ok());
  return memory;
}

DeviceMemory AttentionCase::UploadPages(const Tokens& tokens, const DevicePageLayout& layout,
                                        int64_t first, int64_t end) {
  std::vector<std::byte*> table(static_cast<size_t>(PagesOf(end)), nullptr);
  const int64_t d = tokens.d;
  for (int64_t page = 0; page < PagesOf(end); ++page) {
    const int64_t page_first = page * kPageTokens;
    if (page_first + kPageTokens <= first) continue;
    std::vector<std::byte> bytes(static_cast<size_t>(layout.bytes()), std::byte{0xff});
    for (int64_t j = std::max(first, page_first); j < std::min(end, page_first + kPageTokens);
         ++j) {
      const int64_t slot = j - page_first;
      for (int64_t h = 0; h < tokens.heads; ++h) {
        const float key_scale =
            RoundRow(tokens.dtype, tokens.Key(j, h), d,
                     bytes.data() + layout.keys(layer_, h) + slot * layout.row_bytes());
        const float value_scale =
            RoundRow(tokens.dtype, tokens.Value(j, h), d,
                     bytes.data() + layout.values(layer_, h) + slot * layout.row_bytes());
        if (!layout.scaled()) continue;
        std::memcpy(bytes.data() + layout.key_scales(layer_, h) + slot * 4, &key_scale, 4);
        std::memcpy(bytes.data() + layout.value_scales(layer_, h) + slot * 4, &value_scale, 4);
      }
    }
    pages_.push_back(Upload(bytes));
    table[static_cast<size_t>(page)] = pages_.back().data();
  }
  return Upload(table);
}

std::vector<AttentionUnit> AttentionCase::UnitsOf(const Cut& cut) {
  std::vector<AttentionUnit> units;
  for (int64_t row = 0; row < rows_; row += cut.rows) {
    const auto rows = static_cast<int32_t>(std::min<int64_t>(cut.rows, rows_ - row));
    const Sight seen =
        Either(SeenBy(shape_.policy, first_ + row), SeenBy(shape_.policy, first_ + row + rows - 1));
    const PageSequence pages = PagesBetween(0, seen.cores, seen.raw_begin, seen.raw_end);
    for (int64_t part = 0; part < cut.parts; ++part) {
      // Pages low .. high-1 of the sequence.
      const int64_t low = pages.size() * part / cut.parts;
      const int64_t high = pages.size() * (part + 1) / cut.parts;
      const int64_t core_low = std::min(low, pages.cores), core_high = std::min(high, pages.cores);
      const int64_t raw_low = pages.first_raw + std::max<int64_t>(0, low - pages.cores);
      const int64_t raw_high = pages.first_raw + std::max<int64_t>(0, high - pages.cores);
      AttentionUnit unit;
      unit.core_begin = core_low * kPageTokens;
      unit.core_end = std::max(unit.core_begin, std::min(seen.cores, core_high * kPageTokens));
      unit.raw_begin = std::max(seen.raw_begin, raw_low * kPageTokens);
      unit.raw_end = std::max(unit.raw_begin, std::min(seen.raw_end, raw_high * kPageTokens));
      unit.first_row = static_cast<int32_t>(row);
      unit.rows = rows;
      unit.partial = cut.parts == 1 ? -1 : partials_;
      if (cut.parts > 1) partials_ += rows;
      units.push_back(unit);
    }
  }
  units.emplace_back();  // an empty one
  return units;
}

AttentionArguments AttentionCase::Arguments(const Cut& cut) {
  const auto d = static_cast<size_t>(shape_.head_dim),
             heads = static_cast<size_t>(shape_.query_heads);
  partials_ = 0;
  host_units_ = UnitsOf(cut);
  launch_ = {};
  launch_.units = static_cast<int32_t>(host_units_.size());
  launch_.pack = cut.pack;
  launch_.tile = 16;
  while (launch_.tile < cut.rows * cut.pack) launch_.tile *= 2;
  launch_.prefill = cut.prefill;
  std::vector<AttentionRow> rows;
  for (int64_t r = 0; r < rows_; ++r) {
    // Results in the opposite order, so that a mistaken row shows.
    rows.push_back({first_ + r, static_cast<int32_t>(r), static_cast<int32_t>(rows_ - 1 - r)});
  }
  units_ = Upload(host_units_);
  unit_rows_ = Upload(rows);
  const std::vector<float> nan(
      std::max(static_cast<size_t>(rows_), static_cast<size_t>(partials_)) * heads * d, kNaN);
  out_ = Upload(nan.data(), static_cast<size_t>(rows_) * heads * d * sizeof(float));
  partial_out_ = Upload(nan.data(), static_cast<size_t>(partials_) * heads * d * sizeof(float));
  partial_max_sum_ = Upload(nan.data(), static_cast<size_t>(partials_) * heads * 2 * sizeof(float));
  AttentionArguments arguments;
  arguments.units = units_.as<AttentionUnit>();
  arguments.rows = unit_rows_.as<AttentionRow>();
  arguments.items = items_.as<StepItem>();
  arguments.qkv = qkv_.as<float>();
  arguments.out = out_.as<float>();
  arguments.partial_out = partial_out_.as<float>();
  arguments.partial_max_sum = partial_max_sum_.as<float2>();
  arguments.shape = shape_;
  arguments.layer = layer_;
  return arguments;
}

std::vector<float> AttentionCase::Result() {
  const int64_t d = shape_.head_dim, heads = shape_.query_heads;
  std::vector<float> out(static_cast<size_t>(rows_ * heads * d));
  std::vector<float> partials(static_cast<size_t>(partials_ * heads * d));
  std::vector<float2> max_sum(static_cast<size_t>(partials_ * heads));
  const auto fetch = [this](auto& to, const DeviceMemory& from) {
    EXPECT_TRUE(
        Copy(to.data(), from.data(), static_cast<int64_t>(to.size() * sizeof(to[0])), stream_.get())
            .ok());
  };
  fetch(out, out_);
  fetch(partials, partial_out_);
  fetch(max_sum, partial_max_sum_);
  EXPECT_TRUE(stream_.Synchronize().ok());
  std::vector<float> result(out.size());
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      std::vector<double> sum(static_cast<size_t>(d));
      double weight = 0, largest = -INFINITY;
      const auto each_partial = [&](auto body) {
        for (const AttentionUnit& unit : host_units_) {
          if (unit.partial < 0 || r < unit.first_row || r >= unit.first_row + unit.rows) continue;
          body(static_cast<size_t>((unit.partial + r - unit.first_row) * heads + h));
        }
      };
      each_partial([&](size_t p) { largest = std::max(largest, double{max_sum[p].x}); });
      each_partial([&](size_t p) {
        const double factor = std::exp2(double{max_sum[p].x} - largest);
        weight += factor * double{max_sum[p].y};
        for (size_t k = 0; k < sum.size(); ++k) {
          sum[k] += factor * double{partials[p * sum.size() + k]};
        }
      });
      for (int64_t k = 0; k < d; ++k) {
        const auto to = static_cast<size_t>((r * heads + h) * d + k);
        result[to] = partials_ > 0
                         ? static_cast<float>(sum[static_cast<size_t>(k)] / weight)
                         : out[static_cast<size_t>(((rows_ - 1 - r) * heads + h) * d + k)];
      }
    }
  }
  return result;
}

void AttentionCase::ExpectRight(double relative) {
  const std::vector<float> result = Result();
  const int64_t d = shape_.head_dim, heads = shape_.query_heads;
  int64_t wrong = 0;
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      const Expected expected = Define(sequence_, first_ + r, h, Arithmetic::kF32);
      for (int64_t k = 0; k < d; ++k) {
        const auto i = static_cast<size_t>(k);
        const float got = result[static_cast<size_t>((r * heads + h) * d + k)];
        const double allowed = expected.tolerance[i] * (1 + relative / expected.relative);
        if (std::abs(got - expected.out[i]) <= allowed || ++wrong > 3) continue;
        ADD_FAILURE() << "row " << r << " head " << h << " column " << k << ": " << got
                      << " instead of " << expected.out[i] << " +- " << allowed;
      }
    }
  }
  EXPECT_EQ(wrong, 0);
}

const std::vector<AttentionPolicy>& OddPolicies() {
  static const auto& policies =
      *new std::vector<AttentionPolicy>{AttentionPolicy::Full(),
                                        AttentionPolicy::Cca(4, 8, CoreHeads::kQuery),
                                        AttentionPolicy::Cca(1, 1, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(7, 70, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(16, 64, CoreHeads::kQuery),
                                        AttentionPolicy::Streaming(4, 60),
                                        AttentionPolicy::Streaming(0, 1),
                                        AttentionPolicy::Streaming(100, 128)};
  return policies;
}

std::string NameOfCase(const Sequence& s, int64_t first, int64_t rows) {
  return std::string(NameOf(s.dims.dtype)) + " " + s.policy.ToString() +
         " d=" + std::to_string(s.dims.head_dim) + " first=" + std::to_string(first) +
         " rows=" + std::to_string(rows);
}

}  // namespace longleaf::kernels::cuda
