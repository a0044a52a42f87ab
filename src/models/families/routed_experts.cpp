#include "models/families/routed_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tandem::models::families {

MoeSpec read_routed(config::FieldReader& fields, Architecture& sizes,
                    const RoutedDefaults& defaults) {
  MoeSpec moe;
  moe.act = sizes.mlp.act;
  moe.width = fields.integer("moe_intermediate_size", 1, kMaxExpertWidth);
  moe.shared_width = moe.width * fields.integer_or("n_shared_experts", defaults.shared, 0, 64);
  moe.router.experts = fields.integer("n_routed_experts", 1, kMaxExperts);
  moe.router.top_k = fields.integer("num_experts_per_tok", 1, std::max(1, moe.router.experts));
  moe.router.scale =
      static_cast<float>(fields.number_or("routed_scaling_factor", defaults.scale, 0, 1e6));
  const int first = fields.integer_or("first_k_dense_replace", defaults.first, 0, kMaxLayers);
  const int step = fields.integer_or("moe_layer_freq", 1, 1, kMaxLayers);
  for (int i = 0; i < static_cast<int>(sizes.layers.size()); ++i) {
    sizes.layers[static_cast<std::size_t>(i)].moe = i >= first && i % step == 0;
  }
  return moe;
}

void read_groups(config::FieldReader& fields, kernels::RouterSpec& router) {
  router.groups = fields.integer_or("n_group", 1, 1, std::max(1, router.experts));
  router.top_groups = fields.integer_or("topk_group", 1, 1, std::max(1, router.groups));
  if (!fields.status().ok()) return;
  const int per_group = router.experts / router.groups;
  const int reachable = per_group * router.top_groups;
  if (router.experts % router.groups != 0 || (router.groups > 1 && per_group < 2)) {
    fields.fail("n_group", fmt::format("must divide n_routed_experts {} into groups of 2 or more, "
                                       "not {}",
                                       router.experts, router.groups));
  } else if (router.top_k > reachable) {
    fields.fail("num_experts_per_tok", fmt::format("must be at most the {} experts of topk_group "
                                                   "groups, not {}",
                                                   reachable, router.top_k));
  }
}

MoeSpec read_noaux(config::FieldReader& fields, Architecture& sizes,
                   const RoutedDefaults& defaults) {
  MoeSpec moe = read_routed(fields, sizes, defaults);
  moe.router.score = kernels::RouterSpec::Score::kSigmoid;
  moe.router.group_score = kernels::RouterSpec::GroupScore::kTopTwoSum;
  read_groups(fields, moe.router);
  moe.router.normalize =
      fields.boolean_or("norm_topk_prob", defaults.normalize) && moe.router.top_k > 1;
  moe.router.normalize_epsilon = 1e-20F;
  moe.correction = true;
  return moe;
}

void require_noaux(config::FieldReader& fields) {
  for (const auto& [field, known] :
       {std::pair{"topk_method", "noaux_tc"}, std::pair{"scoring_func", "sigmoid"}}) {
    const std::string value = fields.string_or(field, known);
    if (value != known) {
      fields.fail(field, fmt::format("must be \"{}\", not \"{}\"", known, value));
    }
  }
}

void add_prediction_layers(config::FieldReader& fields, Architecture& model) {
  const char* const field =
      fields.has("num_mtp_layers") ? "num_mtp_layers" : "num_nextn_predict_layers";
  model.extra_layers = fields.integer_or(field, 1, 0, kMaxLayers);
}

}  // namespace tandem::models::families
