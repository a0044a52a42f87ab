#pragma once
// Experts with a shared one beside them and dense layers before them, as DeepSeek's configs name
// them. Sources: arXiv 2405.04434 section 2.2, arXiv 2412.19437 section 2.1.2.

#include "models/families/common.h"

namespace tandem::models::families {

/// What a family assumes for absent fields.
struct RoutedDefaults {
  int shared = 0;  // n_shared_experts
  int first = 0;   // first_k_dense_replace
  double scale = 1;
  bool normalize = true;  // norm_topk_prob
};

/// Sizes, counts and which layers have experts; the caller adds how experts are scored.
MoeSpec read_routed(config::FieldReader& fields, Architecture& sizes,
                    const RoutedDefaults& defaults);

/// n_group and topk_group, checked against the experts.
void read_groups(config::FieldReader& fields, kernels::RouterSpec& router);

/// read_routed() with DeepSeek-V3's choice (noaux_tc): scores by a sigmoid, groups by their two
/// best, e_score_correction_bias for the choice alone.
MoeSpec read_noaux(config::FieldReader& fields, Architecture& sizes,
                   const RoutedDefaults& defaults);

/// Fields that name this choice, where a family's configs have them.
void require_noaux(config::FieldReader& fields);

/// The layers that predict further tokens follow the model's under the next numbers.
void add_prediction_layers(config::FieldReader& fields, Architecture& model);

}  // namespace tandem::models::families
