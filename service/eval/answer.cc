#include "service/eval/answer.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/incremental_decoder.h"
#include "model/stop_matcher.h"

namespace longleaf::service::eval {

absl::StatusOr<std::unique_ptr<TextModel>> TextModel::Load(const Session& session) {
  const model::Config& config = session.config();
  model::TokenizerOptions options;
  options.bos_id = config.bos_id;
  options.eos_ids = config.eos_ids;
  options.model_vocab_size = config.vocab;
  auto tokenizer = model::Tokenizer::Load(session.model_directory(), options);
  if (!tokenizer.ok()) return tokenizer.status();
  auto file = model::PromptFile::Load(session.model_directory());
  if (!file.ok()) return file.status();
  auto prompt = model::Prompt::Create(*std::move(file), tokenizer->get());
  if (!prompt.ok()) return prompt.status();
  std::unique_ptr<TextModel> text(new TextModel());
  text->tokenizer_ = *std::move(tokenizer);
  text->prompt_ = std::make_unique<model::Prompt>(*std::move(prompt));
  return text;
}

absl::StatusOr<std::vector<int32_t>> TextModel::DocumentIds(std::string_view text) const {
  auto document = tokenizer_->EncodeIds(text, prompt_->document_start());
  if (!document.ok()) return document.status();
  std::vector<int32_t> ids = prompt_->prefix_ids();
  ids.insert(ids.end(), document->begin(), document->end());
  return ids;
}

absl::StatusOr<std::string> Answer(Session& session, const TextModel& text,
                                   const kernels::State& document, std::string_view question,
                                   int64_t max_tokens,
                                   const std::function<void(std::string_view)>& on_text) {
  const model::PromptFile& file = text.prompt().file();
  auto ids = text.prompt().QuestionIds(question);
  if (!ids.ok()) return ids.status();
  if (max_tokens <= 0) max_tokens = file.max_answer_tokens;
  const int64_t context = session.config().context;
  if (document.tokens() + static_cast<int64_t>(ids->size()) + max_tokens > context) {
    return absl::InvalidArgumentError(
        absl::StrCat("document, question and answer take ", document.tokens(), " + ", ids->size(),
                     " + ", max_tokens, " tokens, more than the model's context of ", context));
  }
  auto branch = session.backend().Branch(document);
  if (!branch.ok()) return branch.status();
  auto stop = model::StopMatcher::Create(file.stop);
  if (!stop.ok()) return stop.status();
  model::IncrementalDecoder decoder(&text.tokenizer(),
                                    {.strip_leading_space = file.strip_leading_space});

  std::string answer;
  const auto take = [&](const std::string& part) {
    answer += part;
    if (on_text && !part.empty()) on_text(part);
  };
  std::vector<int32_t> next = *std::move(ids);
  for (int64_t generated = 0; generated < max_tokens && !stop->stopped(); ++generated) {
    auto token = session.NextToken(**branch, next);
    if (!token.ok()) return token.status();
    if (text.tokenizer().IsEos(*token)) break;
    take(stop->Push(decoder.Push(*token)));
    next = {*token};
  }
  if (!stop->stopped()) {
    take(stop->Push(decoder.Flush()));
    take(stop->Flush());
  }
  return answer;
}

}  // namespace longleaf::service::eval
