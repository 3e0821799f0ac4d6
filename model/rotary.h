// Rotary frequencies of a model, with the scaling of its config.json worked in.
#ifndef LONGLEAF_MODEL_ROTARY_H_
#define LONGLEAF_MODEL_ROTARY_H_

#include <cstdint>

#include "kernels/backend.h"
#include "model/config.h"

namespace longleaf::model {

// inverse_frequencies[k] = theta^(-2k/d), k = 0 .. d/2-1 (arXiv 2104.09864), then
//   linear  all divided by `factor` (arXiv 2306.15595)
//   llama3  those whose wavelength exceeds original_context / low_freq_factor divided by `factor`,
//           those below original_context / high_freq_factor kept, a linear blend between
// all in double. `first_position` is the rotary position of a state's token 0; other than 0 it
// serves tests of precision far out.
kernels::Rotary MakeRotary(const Config& config, int64_t first_position = 0);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_ROTARY_H_
