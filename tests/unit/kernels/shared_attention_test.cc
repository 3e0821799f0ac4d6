// Attention of batches whose items share pages: branches of one state, as many questions on one
// document are. Right for every mixture, and a shared page is read once.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention_plan.h"
#include "kernels/cpu/cca_attention_share.h"
#include "tests/unit/kernels/attention_fixture.h"

namespace longleaf::kernels {
namespace {

int64_t PagesFor(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

struct Shape {
  AttentionPolicy policy;
  int64_t query_heads = 4;
  int64_t kv_heads = 2;
  int64_t d = 16;
  DType dtype = DType::kF32;
};

// A state of `length` tokens that branches go on from.
struct Document {
  Document(const Shape& shape, int64_t length, uint32_t seed)
      : shape(shape),
        sequence(shape.policy, shape.query_heads, shape.kv_heads, shape.d, length, seed,
                 shape.dtype),
        cores(sequence.cores, 0, shape.policy.CoresAfter(length)),
        raw(sequence.raw, shape.policy.FirstRaw(length), length) {}
  Shape shape;
  Sequence sequence;
  Pages cores, raw;
};

// The last `rows` tokens of a branch. Its tables hold the document's pages where CpuState's would:
// all that are full at the branch, and the last one while nothing was added to it.
struct Branch {
  Branch(const Document& document, int64_t length, int64_t rows, bool mass, uint32_t seed)
      : sequence(document.sequence, length, rows, seed),
        chunk(sequence, length - rows, rows, mass) {
    const AttentionPolicy& policy = sequence.policy;
    const int64_t shared = document.sequence.length;
    Share(document.cores, policy.CoresAfter(shared), policy.CoresAfter(length), chunk.core_pages);
    Share(document.raw, shared, length, chunk.raw_pages);
    chunk.item.core_pages = chunk.core_pages.pointers.data();
    chunk.item.raw_pages = chunk.raw_pages.pointers.data();
  }
  static void Share(const Pages& from, int64_t count, int64_t grown, Pages& to) {
    const int64_t pages = grown > count ? count / kPageTokens : PagesFor(count);
    for (int64_t p = 0; p < std::min<int64_t>(pages, std::ssize(to.pointers)); ++p) {
      const size_t at = static_cast<size_t>(p);
      if (to.pointers[at] != nullptr) to.pointers[at] = from.pointers[at];
    }
  }
  Sequence sequence;
  Chunk chunk;
};

struct Questions {
  void Add(const Document& document, int64_t more, int64_t rows, bool mass = false) {
    branches.push_back(std::make_unique<Branch>(document, document.sequence.length + more, rows,
                                                mass, static_cast<uint32_t>(branches.size()) + 77));
  }
  std::vector<Chunk*> chunks() {
    std::vector<Chunk*> all;
    for (const auto& branch : branches) all.push_back(&branch->chunk);
    return all;
  }
  std::vector<AttentionItem> items() {
    std::vector<AttentionItem> all;
    for (const auto& branch : branches) all.push_back(branch->chunk.item);
    return all;
  }
  std::vector<std::unique_ptr<Branch>> branches;
};

// How often each page is read for each of its heads, over all tasks.
std::map<std::pair<const std::byte*, int64_t>, int64_t> Reads(const Questions& questions,
                                                              const AttentionPlan& plan) {
  const AttentionDims& dims = questions.branches.front()->sequence.dims;
  std::map<std::pair<const std::byte*, int64_t>, int64_t> reads;
  for (const AttentionPlan::Task& task : plan.tasks) {
    const AttentionBlock& block = task.block;
    int64_t tile = 0;
    for (int64_t n = 0; n < block.range_count; ++n) {
      const TileRange& range = block.ranges[n];
      const int64_t share = dims.query_heads / (range.raw ? dims.kv_heads : dims.core_heads);
      for (int64_t p = range.begin; p < range.end; ++p, ++tile) {
        if (tile < block.tile_begin || tile >= block.tile_end) continue;
        const std::byte* page = (range.raw ? block.raw_pages : block.core_pages)[p];
        for (int64_t h = block.head / share; h * share < block.head + block.heads; ++h) {
          ++reads[{page, h}];
        }
      }
    }
  }
  return reads;
}

AttentionPlan Plan(Questions& questions, const std::vector<AttentionItem>& items) {
  const Sequence& s = questions.branches.front()->sequence;
  return PlanAttention(s.policy, s.dims, s.stride, items, /*may_split=*/true);
}

bool SharesSomething(Questions& questions) {
  const Sequence& s = questions.branches.front()->sequence;
  return !FindSharedPasses(s.policy, s.dims, questions.items()).empty();
}

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (const AttentionPolicy& policy :
       {AttentionPolicy::Full(), AttentionPolicy::Cca(4, 128, CoreHeads::kQuery),
        AttentionPolicy::Cca(4, 128, CoreHeads::kKeyValue),
        AttentionPolicy::Cca(1, 320, CoreHeads::kQuery), AttentionPolicy::Streaming(70, 300)}) {
    shapes.push_back({policy});
    shapes.push_back({policy, 4, 2, 16, shapes.size() % 4 == 1 ? DType::kBF16 : DType::kI8});
  }
  return shapes;
}

std::string Name(const Shape& shape, int64_t length) {
  return std::string(NameOf(shape.dtype)) + " " + shape.policy.ToString() +
         " d=" + std::to_string(shape.d) + " heads " + std::to_string(shape.query_heads) + "/" +
         std::to_string(shape.kv_heads) + " length " + std::to_string(length);
}

// Branches gone on by different numbers of tokens: within a page, around its end, around a group's
// and the window's end, and so far that the window has left the document's tail.
TEST(SharedAttentionTest, BranchesGoneOnByDifferentLengths) {
  for (const Shape& shape : Shapes()) {
    for (const int64_t length : {int64_t{576}, int64_t{577}, int64_t{639}}) {
      SCOPED_TRACE(Name(shape, length));
      const Document document(shape, length, 5);
      Questions questions;
      for (const int64_t more : {1, 2, 3, 4, 5, 63, 64, 65, 127, 129, 321, 400}) {
        questions.Add(document, more, 1);
      }
      EXPECT_TRUE(SharesSomething(questions));
      CheckChunks(questions.chunks());
    }
  }
}

TEST(SharedAttentionTest, SeveralRowsAndAttentionMass) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(Name(shape, 700));
    const Document document(shape, 700, 6);
    Questions questions;
    for (const int64_t rows : {1, 2, 7, 24, 32, 33, 65, 1, 31}) {
      questions.Add(document, rows + rows % 5, rows, /*mass=*/rows != 2);
    }
    EXPECT_TRUE(SharesSomething(questions));
    CheckChunks(questions.chunks());
  }
}

TEST(SharedAttentionTest, SeveralDocumentsAmongStatesOfTheirOwn) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(Name(shape, 0));
    const Document one(shape, 900, 7), other(shape, 700, 8), third(shape, 530, 9);
    Questions questions;
    for (const int64_t more : {3, 50, 7, 90}) {
      questions.Add(one, more, 1);
      questions.Add(other, more + 1, more == 7 ? 5 : 1);
    }
    questions.Add(third, 1, 1);
    Document chunked(shape, 1, 10);
    questions.Add(chunked, 300, 300);
    questions.Add(chunked, 1, 2);
    EXPECT_TRUE(SharesSomething(questions));
    CheckChunks(questions.chunks());
  }
}

TEST(SharedAttentionTest, HeadSizesAndGroupings) {
  for (const CoreHeads heads : {CoreHeads::kQuery, CoreHeads::kKeyValue}) {
    const AttentionPolicy policy = AttentionPolicy::Cca(2, 64, heads);
    for (const Shape& shape :
         {Shape{policy, 6, 3, 10}, Shape{policy, 1, 1, 80}, Shape{policy, 7, 1, 32, DType::kBF16},
          Shape{policy, 3, 3, 64, DType::kI8}, Shape{policy, 8, 2, 128, DType::kBF16},
          Shape{policy, 4, 2, 256, DType::kI8}, Shape{policy, 6, 3, 22, DType::kI8},
          Shape{policy, 130, 1, 8}}) {
      SCOPED_TRACE(Name(shape, 400));
      const Document document(shape, 400, 11);
      Questions questions;
      for (int64_t more = 1; more < 6; ++more) questions.Add(document, more, 1 + more % 2);
      CheckChunks(questions.chunks());
    }
  }
}

// More rows than a block holds, more tiles than a task takes.
TEST(SharedAttentionTest, ManyBranchesOfALongState) {
  for (const CoreHeads heads : {CoreHeads::kQuery, CoreHeads::kKeyValue}) {
    const Shape shape{AttentionPolicy::Cca(1, 192, heads), 4, 1, 8};
    const Document document(shape, 64 * 40 + 13, 12);
    Questions questions;
    for (int64_t n = 0; n < 70; ++n) questions.Add(document, 1 + n % 9, 1);
    CheckChunks(questions.chunks());
  }
}

// A branch of a branch shares less with the others than they do with each other.
TEST(SharedAttentionTest, BranchesOfBranches) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(Name(shape, 0));
    const Document document(shape, 600, 13);
    Document longer(shape, 1100, 14);  // the document, then more
    longer.sequence = Sequence(document.sequence, 1100, 1, 15);
    longer.cores = Pages(longer.sequence.cores, 0, shape.policy.CoresAfter(1100));
    longer.raw = Pages(longer.sequence.raw, shape.policy.FirstRaw(1100), 1100);
    Branch::Share(document.cores, shape.policy.CoresAfter(600), shape.policy.CoresAfter(1100),
                  longer.cores);
    Branch::Share(document.raw, 600, 1100, longer.raw);
    Questions questions;
    for (const int64_t more : {1, 70, 2, 90}) {
      questions.Add(document, more, 1);
      questions.Add(longer, more, 1);
    }
    EXPECT_TRUE(SharesSomething(questions));
    CheckChunks(questions.chunks());
  }
}

TEST(SharedAttentionTest, ASharedPageIsReadOnce) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(Name(shape, 0));
    const Document document(shape, 1000, 16);
    Questions questions;
    for (int64_t n = 0; n < 16; ++n) questions.Add(document, 1 + n % 3, 1);
    const std::vector<AttentionItem> items = questions.items();
    const AttentionPlan plan = Plan(questions, items);
    int64_t shared = 0;
    for (const auto& [page, count] : Reads(questions, plan)) {
      EXPECT_EQ(count, 1);
      const auto& tables = {document.cores.pointers, document.raw.pointers};
      for (const auto& table : tables) {
        shared += std::count(table.begin(), table.end(), page.first);
      }
    }
    // Every page that the questions see of the document, but the last of each part, which they
    // have copied, for every head.
    const KeyTiles tiles = TilesSeen(shape.policy, 1000, 1);
    const AttentionDims& dims = document.sequence.dims;
    EXPECT_GE(shared, (tiles.core - 1) * dims.core_heads + (tiles.raw - 1) * dims.kv_heads);
  }
}

// What does not fit one block is read once for each block, never once for each item.
TEST(SharedAttentionTest, ASharedPageIsReadOncePerBlock) {
  const Shape shape{AttentionPolicy::Cca(4, 128, CoreHeads::kKeyValue), 16, 2, 64};
  const Document document(shape, 2000, 17);
  Questions questions;
  for (int64_t n = 0; n < 40; ++n) questions.Add(document, 1 + n % 3, 1);
  const std::vector<AttentionItem> items = questions.items();
  const AttentionPlan plan = Plan(questions, items);
  for (const auto& [page, count] : Reads(questions, plan)) {
    EXPECT_LE(count, 3);  // 40 tokens of 8 heads in blocks of 128 rows
  }
}

TEST(SharedAttentionTest, NothingIsSharedWhereItDoesNotPay) {
  const Shape shape{AttentionPolicy::Cca(4, 128, CoreHeads::kKeyValue)};
  const Document document(shape, 1000, 18), other(shape, 1000, 19);
  Questions alone, apart, chunks;
  alone.Add(document, 1, 1);
  EXPECT_FALSE(SharesSomething(alone));
  apart.Add(document, 1, 1);
  apart.Add(other, 1, 1);
  EXPECT_FALSE(SharesSomething(apart));
  for (int i = 0; i < 4; ++i) chunks.Add(document, 200, 200);
  EXPECT_FALSE(SharesSomething(chunks));
}

// Tables that no branching makes: pages in common here and there, in any pattern.
TEST(SharedAttentionTest, AnyPatternOfCommonPages) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(Name(shape, 0));
    const Document document(shape, 900, 20);
    std::mt19937 random(21);
    Questions questions;
    for (int64_t n = 0; n < 12; ++n)
      questions.Add(document, 1 + static_cast<int64_t>(random() % 150), 1);
    // Equal content at other addresses, in a few versions each.
    std::vector<Pages> versions;
    for (int i = 0; i < 3; ++i) {
      versions.emplace_back(document.sequence.cores, 0, shape.policy.CoresAfter(900));
      versions.emplace_back(document.sequence.raw, shape.policy.FirstRaw(900), 900);
    }
    for (const auto& branch : questions.branches) {
      for (const bool raw : {false, true}) {
        Pages& pages = raw ? branch->chunk.raw_pages : branch->chunk.core_pages;
        const Pages& original = raw ? document.raw : document.cores;
        for (size_t p = 0; p < pages.pointers.size() && p < original.pointers.size(); ++p) {
          if (pages.pointers[p] != original.pointers[p] || pages.pointers[p] == nullptr) continue;
          if (random() % 4 != 0) continue;
          pages.pointers[p] = versions[2 * (random() % 3) + (raw ? 1 : 0)].pointers[p];
        }
      }
    }
    CheckChunks(questions.chunks());
  }
}

TEST(SharedAttentionTest, ThreadsDoNotMatterToTheBit) {
  const Shape shape{AttentionPolicy::Cca(1, 192, CoreHeads::kKeyValue), 8, 2, 32};
  const Document document(shape, 2000, 22);
  Questions questions;
  for (int64_t n = 0; n < 20; ++n) questions.Add(document, 1 + n, 1 + n % 3, n % 4 == 0);
  Attend(questions.chunks(), 1);
  std::vector<std::vector<float>> outs, masses;
  for (const Chunk* chunk : questions.chunks()) {
    outs.push_back(chunk->out);
    masses.push_back(chunk->mass);
  }
  for (const int64_t threads : {2, 5, 16}) {
    Attend(questions.chunks(), threads);
    for (size_t i = 0; i < outs.size(); ++i) {
      EXPECT_EQ(questions.chunks()[i]->out, outs[i]);
      EXPECT_EQ(questions.chunks()[i]->mass, masses[i]);
    }
  }
}

// design.md's rule of sameness allows 1e-4 of a row's largest value; a shared pass costs far less
// of it (measured: 1e-6 with all products), and it is one of many steps on the way to a token.
constexpr double kSameAlone = 5e-6;

TEST(SharedAttentionTest, AQuestionAloneAndAmongOthers) {
  double worst[3] = {};
  for (const Shape& shape : Shapes()) {
    const Document document(shape, 1500, 23);
    Questions questions;
    for (int64_t n = 0; n < 32; ++n) questions.Add(document, 1 + 5 * n, 1);
    OnEveryTarget([&] {
      double& of_kind = worst[static_cast<int>(ArithmeticOf(document.sequence.dims))];
      Attend(questions.chunks());
      std::vector<std::vector<float>> together;
      for (const Chunk* chunk : questions.chunks()) together.push_back(chunk->out);
      for (size_t n = 0; n < together.size(); ++n) {
        Chunk* chunk = questions.chunks()[n];
        Attend({chunk});
        double largest = 0, difference = 0;
        for (size_t i = 0; i < together[n].size(); ++i) {
          largest = std::max(largest, std::abs(double{chunk->out[i]}));
          difference = std::max(difference, std::abs(double{chunk->out[i]} - together[n][i]));
        }
        of_kind = std::max(of_kind, difference / largest);
      }
    });
  }
  for (const Arithmetic arithmetic : {Arithmetic::kF32, Arithmetic::kBF16, Arithmetic::kBytes}) {
    const double of_kind = worst[static_cast<int>(arithmetic)];
    RecordProperty("worst of kind " + std::to_string(static_cast<int>(arithmetic)),
                   std::to_string(of_kind * 1e6) + "e-6");
    EXPECT_LE(of_kind, kSameAlone);
  }
  EXPECT_GT(worst[0], 0.0);  // else nothing was shared
}

}  // namespace
}  // namespace longleaf::kernels
