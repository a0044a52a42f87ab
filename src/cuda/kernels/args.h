#pragma once
// What the kernels are given, and the sizes that both sides of a launch count with. Compiled for
// the device by NVRTC or nvcc and for the host by any compiler.

#ifdef __CUDACC__
#define TANDEM_BOTH_SIDES __host__ __device__
#else
#define TANDEM_BOTH_SIDES
struct uint4;
struct float2;
#endif

namespace tandem::cuda {

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int kThreads = 512;  // of a block that prepares rows or multiplies
constexpr int kWarps = kThreads / 32;

struct Rows {
  const u16* x = nullptr;       // bf16 [rows][64 * groups]
  const u16* weight = nullptr;  // of rms_norm, bf16 [64 * groups]
  float epsilon = 0;
  int groups = 0;
};

constexpr int kStageGroups = 2;  // groups of 64 in a stage of the ring, for 16 rows
constexpr int kStageWeights = kStageGroups * 16 * 32;
constexpr int kStageBytes = kStageWeights + kStageGroups * 16 * 4;
constexpr int kPartialStride = 20;  // floats a token, of which 16 are used: no bank conflicts
/// Floats of the partial sums of `columns` tokens.
TANDEM_BOTH_SIDES constexpr int partials_of(int columns) {
  return kWarps * columns * kPartialStride;
}
/// Bytes of shared memory that a block of product() takes which holds `held` tokens itself.
constexpr int product_shared(int tiles, int depth, int groups, int held) {
  return kWarps * depth * tiles * kStageBytes + 2 * partials_of(held == 1 ? 1 : 8) * 4 +
         groups * 8 * 4 + held * groups * 128;
}

/// A tile is 16 rows of weights: 8 from first_row() and 8 that lie `8 * per` rows on. per = 1: 16
/// rows in a run; head_dim / 16: the two halves of a head, for rope; tiles: a gate and its up.
struct Weights {
  const unsigned char* packed = nullptr;  // [tiles][groups / 2] stages
  int groups = 0;                         // K / 64, even
  int tiles = 0;
  int per = 1;
  TANDEM_BOTH_SIDES int first_row(int tile) const { return tile / per * 16 * per + tile % per * 8; }
  TANDEM_BOTH_SIDES u64 stage_at(int tile, int group) const {
    return (static_cast<u64>(tile) * (groups / 2) + group / 2) * kStageBytes;
  }
  /// Of row r (0 ... 15) of a tile, the word of elements 8 i ... 8 i + 7 of a group, element j in
  /// bits 4 j. Groups are exchanged in pairs of rows so that lanes meet no bank conflict.
  TANDEM_BOTH_SIDES u64 word_at(int tile, int group, int r, int i) const {
    const int k = group % 2;
    return stage_at(tile, group) + k * 512 + r / 8 * 256 + ((r % 8 * 32 + i * 4) ^ (k * 64));
  }
  /// And its scale | bias << 16, bf16.
  TANDEM_BOTH_SIDES u64 scale_at(int tile, int group, int r) const {
    return stage_at(tile, group) + kStageWeights + r % 8 * 16 + group % 2 * 8 + r / 8 * 4;
  }
};

/// A matrix as MLX stores it, 4 bits in groups of 64.
struct StoredMatrix {
  const u32* words;   // [rows][8 * groups]
  const u16* scales;  // bf16 [rows][groups]
  const u16* biases;
};

struct Tokens {
  Rows rows;                        // to be prepared by the block itself
  const uint4* prepared = nullptr;  // or prepared: see rows.cuh
  const float* sums = nullptr;
  int count = 0;
};

// What epilogues.cuh does with a product's sums.

struct StoreFloatArgs {
  float* y;  // [tokens][rows]
  int rows;
};

struct AddResidualArgs {
  u16* y;  // bf16 [tokens][rows]
  int rows;
};

struct SwiGluArgs {
  u16* y;  // bf16 [tokens][rows / 2]
};

/// Where the KV of a layer lies: pages of 64 tokens, each [K, V][kv_heads][64][dim] bf16, and for
/// each token of the step its rope turns and the slot (page * 64 + place) that it is written to.
struct KvWrite {
  u16* pages = nullptr;
  const int* slots = nullptr;     // [tokens]; negative: a row that pads, not written
  const float2* turns = nullptr;  // [tokens][dim / 2]: cosine, sine
};

struct RopeToPagesArgs {
  u16* q;  // bf16 [tokens][heads][dim]
  KvWrite kv;
  int heads, kv_heads;
  bool turns = true;
};

constexpr int kHeadDim = 128;
constexpr int kPagePositions = 64;
constexpr int kSplit = 256;         // positions a block
constexpr int kWarpPositions = 32;  // positions a warp
constexpr int kAttentionThreads = 256;
constexpr int kJoinThreads = 128;
constexpr int kManyAttentionThreads = 256;
constexpr int kManyAttentionShared = 2 * kSplit * kHeadDim * 2;  // bytes: K and V of a split
constexpr int kHeadsMost = 8;                                    // query heads a KV head

struct AttentionArgs {
  const u16* q;          // [rows][kv_heads * group][128] bf16, turned
  const u16* pages;      // see KvWrite
  const int* table;      // [rows][table_stride] page numbers
  const int* positions;  // [rows]: the token's own, already written; negative: a row that pads
  u16* out;              // [rows][kv_heads * group][128] bf16
  float* partial;        // [rows][kv_heads][splits][group][128]
  float2* weights;       // [rows][kv_heads][splits][group]: maximum (base 2), sum
  int* arrived;          // [rows][kv_heads], zero between launches
  int table_stride, kv_heads, group;
  float scale;  // of scores, times log2(e)
  // Of a model that normalizes heads:
  const u16* norms = nullptr;     // of q, then of k, bf16 [2][128]
  const float2* turns = nullptr;  // [rows][64]: cosine, sine
  float epsilon = 0;
};

/// See turn_heads().
struct TurnHeadsArgs {
  u16* q;  // [rows][heads][128] bf16, as the product gave them
  KvWrite kv;
  const u16* norms;  // as in AttentionArgs
  int rows, heads, kv_heads;
  float epsilon;
};

struct StepArgs {
  int* ids;                // [rows]
  int* positions;          // [rows]; negative: a row that pads
  const int* table;        // [rows][table_stride] page numbers
  const float* frequency;  // [dim / 2] radians a position
  u16* x;                  // bf16 [rows][64 * groups]
  float2* turns;           // [rows][dim / 2]
  int* slots;              // [rows]
  int table_stride, half;
};

// Of a mixture of experts: see moe.cuh.
constexpr int kExpertsMost = 128;
constexpr int kTopMost = 16;       // experts a token; a divisor of kWarps
constexpr int kExpertTokens = 32;  // of experts()
constexpr int kExpertDepth = 9;    // stages of a warp's ring there

struct RouterArgs {
  Rows rows;            // and the norm before the router
  const uint4* router;  // bf16 [experts][64 * groups] in the order of a prepared row
  int experts;          // a multiple of 4, at most kExpertsMost
  uint4* prepared;      // what prepare() gives, or prepare_many()
  float* sums;
  float* logits;  // [rows][experts]
  bool many = false;
};
constexpr int router_shared(int groups) { return groups * (128 + 32); }

struct ExpertTokens {
  const uint4* prepared = nullptr;  // of rows: see rows.cuh
  const float* sums = nullptr;
  int rows = 0, top_k = 1;
  bool by_pair = false;  // a prepared row a pair, not a token
  int experts = 0;
  const float* logits = nullptr;  // to choose from; else experts are chosen
  int* ids = nullptr;             // [rows][top_k]
  float* weights = nullptr;       // [rows][top_k]
};
/// Bytes of shared memory of experts().
constexpr int experts_shared() {
  return kWarps * kExpertDepth * kStageBytes + 2 * partials_of(8) * 4;
}

// Of products of many rows: see wide.cuh.
constexpr int kWideThreads = 256;
constexpr int kWideTiles = 8;           // of 16 rows of weights, a block
constexpr int kWideColumns = 128;       // tokens a block
constexpr int kWideExpertColumns = 64;  // and of one expert
constexpr int kWideDepth = 5;           // stages of a block's ring
constexpr int wide_stage(int columns) {
  return (kWideTiles * kStageBytes + columns * kStageGroups * (128 + 4) + 1023) / 1024 * 1024;
}
constexpr int wide_shared(int columns) { return kWideDepth * wide_stage(columns); }

/// Up to kWideExpertColumns pairs (token * top_k + place among its experts) of one expert.
struct ExpertTile {
  int expert, first, count;  // of `pairs`
};
struct ManyTokens {
  const uint4* prepared = nullptr;  // see prepare_many(): in tiles of kWideColumns, of experts of 1
  const float* sums = nullptr;
  int rows = 0;
  int parts = kWarps;  // ranges of K
  // Of experts:
  const ExpertTile* tiles = nullptr;
  const int* tile_count = nullptr;
  const int* pairs = nullptr;  // by expert
  int pairs_a_row = 1;         // of the prepared rows
};

struct ListPairsArgs {
  const int* ids;  // of each pair
  int pairs, experts;
  int* sorted;        // [pairs], by expert
  ExpertTile* tiles;  // of each expert's
  int* tile_count;
};
/// Most tiles that there are of so many pairs.
constexpr int tiles_most(int pairs, int experts) { return experts + pairs / kWideExpertColumns; }

struct Choice {
  float logit;
  int id;
};

/// How a row's token is drawn: the likeliest where inverse_temperature is 0, else by its softmax at
/// that temperature, walking through the ids until the part `at` of all mass, in [0, 1], is behind.
struct DrawArgs {
  float inverse_temperature;
  float at;
};

/// Of a row of logits: the one of the id that was drawn, the greatest, and the sum of exp(logit -
/// greatest), which is no number where a logit is NaN or infinite, or none is finite.
struct Summary {
  float logit;
  int id;
  float best;
  float sum;
};

/// Blocks of a row that summarize() takes.
constexpr int kSummaryBlocks = 32;

/// A block's part of a row: its greatest logit and the lowest id that has it, and sums of exp(logit
/// - greatest), at temperature 1 and at the row's own.
struct SummaryPart {
  float best;
  int id;
  float sum, mass;
};

struct SummarizeArgs {
  const float* logits;    // [rows][count]
  const DrawArgs* draws;  // [rows]
  int count;
  SummaryPart* parts;  // [rows][kSummaryBlocks]
  int* arrived;        // [rows], zero between launches
  Summary* out;        // [rows]
};

struct DecodeLayer {
  const u16* norm[2];  // before attention and before the MLP
  u16* pages;
};

/// What the one kernel of decode.cuh is given.
struct DecodeArgs {
  const Weights* matrices;    // qkv, o, gate and up, down of each layer, then the head
  const DecodeLayer* layers;  // and one more, whose norms are the head's
  int layer_count, steps;
  float epsilon;
  Weights embedding;
  StepArgs step;
  AttentionArgs attention;
  int splits;      // room for
  u16 *q, *mixed;  // see RopeToPages, AttentionArgs::out
  u16* inner;      // what SwiGlu gives
  float* logits;
  Choice* choices;  // [blocks]
  u64* barrier;     // counts arrivals; a launch adds a multiple of (blocks * barriers)
  // Of a mixture of experts, whose gate, up and down are of the first expert and the others follow:
  const uint4* router = nullptr;  // [layers][experts][8 * groups]: see RouterArgs
  float* router_logits = nullptr;
  int experts = 0, top_k = 0;
};

constexpr int kDecodeDepth = 9;  // stages of a warp's ring
constexpr int kHeadsOfHalf = 4;  // more query heads a KV head, and half a block attends
constexpr int kBatch = 7;        // tiles whose sums are added up at once
constexpr int kTilePartials = kWarps * 16 + 8;

/// Bytes of the lists of matrices and layers, which a block of decode() holds before its ring.
TANDEM_BOTH_SIDES constexpr int lists_bytes(int layers) {
  return (static_cast<int>((layers * 4 + 1) * sizeof(Weights)) +
          static_cast<int>((layers + 1) * sizeof(DecodeLayer)) + 127) /
         128 * 128;
}
/// Bytes of shared memory of decode(): the hidden size / 64, the greatest K / 64 of
/// its rows (of a down of experts top_k times its own), query heads a KV head.
constexpr int decode_shared(int layers, int hidden_groups, int groups, int heads) {
  const int rows = groups * (32 + 128);
  const int sums = kWarps / (heads > kHeadsOfHalf ? 2 : 1) * heads * kHeadDim * 4;
  return lists_bytes(layers) + hidden_groups * 128 + kWarps * kDecodeDepth * kStageBytes +
         2 * kBatch * kTilePartials * 4 + (rows > sums ? rows : sums);
}

}  // namespace tandem::cuda
