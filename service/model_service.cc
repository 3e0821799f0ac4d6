#include "service/model_service.h"

#include <algorithm>

#include "model/core_state.h"
#include "service/version.h"

namespace longleaf::service {
namespace {

int64_t Parameters(const model::Config& c) {
  const int64_t attention = c.hidden * c.head_dim * (2 * c.query_heads + 2 * c.kv_heads);
  const int64_t layer = attention + 3 * c.hidden * c.intermediate + 2 * c.hidden;
  const int64_t embeddings = c.vocab * c.hidden * (c.tied_embeddings ? 1 : 2);
  return c.layers * layer + embeddings + c.hidden;
}

}  // namespace

grpc::ServerUnaryReactor* ModelServiceImpl::GetModel(grpc::CallbackServerContext* call,
                                                     const grpc::ByteBuffer* bytes,
                                                     grpc::ByteBuffer* answer) {
  return RunUnary<longleaf::v1::GetModelRequest, longleaf::v1::Model>(
      context_, context_->executor, call, bytes, answer,
      [this](const longleaf::v1::GetModelRequest&, longleaf::v1::Model* response) -> absl::Status {
        const ServedModel& served = *context_->model;
        const model::Config& config = served.config();
        const kernels::StateShape& shape = served.shape();
        response->set_display_name(served.display_name());
        response->set_architecture("LlamaForCausalLM");
        response->set_parameters(Parameters(config));
        response->set_layers(config.layers);
        response->set_context_length(served.context_length());
        response->set_max_document_tokens(served.max_document_tokens());
        response->set_attention(served.policy().ToString());
        response->set_attention_overridden(served.attention_overridden());
        response->set_weight_format(kernels::NameOf(served.weight_format()));
        response->set_state_dtype(kernels::NameOf(shape.dtype));
        // The state is linear in whole groups from the window on: two points far out give the line.
        const int64_t step = std::max<int64_t>(1, shape.policy.group) * 4096;
        const int64_t low = model::StateBytes(shape, step * 4);
        const int64_t high = model::StateBytes(shape, step * 8);
        const double slope = static_cast<double>(high - low) / static_cast<double>(step * 4);
        response->set_state_bytes_per_token(slope);
        response->set_state_bytes_fixed(
            low - static_cast<int64_t>(slope * static_cast<double>(step * 4)));
        response->set_full_cache_bytes_per_token(
            static_cast<double>(model::FullCacheBytes(shape, 1)));
        response->set_fingerprint(served.fingerprint_hex());
        response->set_device(served.device());
        response->set_version(kVersion);
        return absl::OkStatus();
      });
}

}  // namespace longleaf::service
