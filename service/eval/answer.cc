#include "service/eval/answer.h"

#include <algorithm>
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

namespace {

// One answer as it grows. Not thread-safe; session and text must outlive it.
class RunningAnswer {
 public:
  static absl::StatusOr<std::unique_ptr<RunningAnswer>> Create(Session& session,
                                                               const TextModel& text,
                                                               const kernels::State& document,
                                                               std::string_view question,
                                                               int64_t max_tokens) {
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
    return std::unique_ptr<RunningAnswer>(
        new RunningAnswer(text, *std::move(branch), *std::move(stop), *std::move(ids), max_tokens));
  }

  kernels::State& state() { return *branch_; }
  // What the model has to read before it can give the next token.
  absl::Span<const int32_t> pending() const {
    return absl::MakeSpan(pending_).subspan(static_cast<size_t>(read_));
  }
  // The first `count` of them have been read.
  void SetRead(int64_t count) { read_ += count; }
  bool done() const { return done_; }
  const std::string& text() const { return text_; }

  // The token that the model gives after pending(); the text that it adds.
  std::string Take(int32_t token) {
    std::string part;
    if (tokenizer_.IsEos(token)) {
      done_ = true;
    } else {
      part = stop_.Push(decoder_.Push(token));
      pending_ = {token};
      read_ = 0;
      done_ = ++generated_ == most_ || stop_.stopped();
    }
    if (done_ && !stop_.stopped()) {
      part += stop_.Push(decoder_.Flush());
      part += stop_.Flush();
    }
    text_ += part;
    return part;
  }

 private:
  RunningAnswer(const TextModel& text, std::unique_ptr<kernels::State> branch,
                model::StopMatcher stop, std::vector<int32_t> question, int64_t most)
      : tokenizer_(text.tokenizer()),
        branch_(std::move(branch)),
        stop_(std::move(stop)),
        decoder_(&text.tokenizer(),
                 {.strip_leading_space = text.prompt().file().strip_leading_space}),
        pending_(std::move(question)),
        most_(most) {}

  const model::Tokenizer& tokenizer_;
  std::unique_ptr<kernels::State> branch_;
  model::StopMatcher stop_;
  model::IncrementalDecoder decoder_;
  std::vector<int32_t> pending_;
  int64_t read_ = 0;  // of pending_
  const int64_t most_;
  int64_t generated_ = 0;
  bool done_ = false;
  std::string text_;
};

// One step of all `running`, which fit into it with what they have pending.
absl::Status Step(Session& session, absl::Span<RunningAnswer* const> running) {
  std::vector<model::ForwardItem> items;
  for (RunningAnswer* answer : running) {
    items.push_back({.state = &answer->state(), .tokens = answer->pending(), .outputs = 1});
  }
  auto tokens = session.NextTokens(items, {});
  if (!tokens.ok()) return tokens.status();
  for (size_t i = 0; i < running.size(); ++i) running[i]->Take((*tokens)[i]);
  return absl::OkStatus();
}

// Reads the questions of all, as many in a step as fit.
absl::Status ReadQuestions(Session& session, absl::Span<RunningAnswer* const> running) {
  const int64_t most = session.options().chunk;
  size_t begin = 0;
  int64_t rows = 0;
  for (size_t i = 0; i < running.size(); ++i) {
    auto count = static_cast<int64_t>(running[i]->pending().size());
    if (count > most) {  // all but the last step's worth on its own
      const absl::Span<const int32_t> head =
          running[i]->pending().first(static_cast<size_t>(count - most));
      const auto nothing = [](int64_t, const kernels::Tensor&) { return absl::OkStatus(); };
      absl::Status status = session.Read(running[i]->state(), head, 0, nothing);
      if (!status.ok()) return status;
      running[i]->SetRead(count - most);
      count = most;
    }
    if (rows + count > most) {
      absl::Status status = Step(session, running.subspan(begin, i - begin));
      if (!status.ok()) return status;
      begin = i;
      rows = 0;
    }
    rows += count;
  }
  return Step(session, running.subspan(begin));
}

}  // namespace

absl::StatusOr<std::string> Answer(Session& session, const TextModel& text,
                                   const kernels::State& document, std::string_view question,
                                   int64_t max_tokens,
                                   const std::function<void(std::string_view)>& on_text) {
  auto answer = RunningAnswer::Create(session, text, document, question, max_tokens);
  if (!answer.ok()) return answer.status();
  while (!(*answer)->done()) {
    auto token = session.NextToken((*answer)->state(), (*answer)->pending());
    if (!token.ok()) return token.status();
    const std::string part = (*answer)->Take(*token);
    if (on_text && !part.empty()) on_text(part);
  }
  return (*answer)->text();
}

absl::StatusOr<std::vector<std::string>> AnswerAll(Session& session, const TextModel& text,
                                                   const kernels::State& document,
                                                   absl::Span<const std::string> questions,
                                                   int64_t max_tokens) {
  std::vector<std::string> answers;
  const auto together =
      static_cast<size_t>(std::min<int64_t>(kAnswersAtOnce, session.options().chunk));
  while (!questions.empty()) {
    std::vector<std::unique_ptr<RunningAnswer>> all;
    std::vector<RunningAnswer*> running;
    for (const std::string& question : questions.first(std::min(together, questions.size()))) {
      auto answer = RunningAnswer::Create(session, text, document, question, max_tokens);
      if (!answer.ok()) return answer.status();
      running.push_back(answer->get());
      all.push_back(*std::move(answer));
    }
    questions.remove_prefix(all.size());
    absl::Status status = ReadQuestions(session, running);
    while (status.ok()) {
      running.erase(std::remove_if(running.begin(), running.end(),
                                   [](const RunningAnswer* answer) { return answer->done(); }),
                    running.end());
      if (running.empty()) break;
      status = Step(session, running);
    }
    if (!status.ok()) return status;
    for (const auto& answer : all) answers.push_back(answer->text());
  }
  return answers;
}

}  // namespace longleaf::service::eval
