// WeightFiles: one weight file, or the shards that an index lists.
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/json_text.h"
#include "model/safetensors.h"

namespace longleaf::model {
namespace {

constexpr int64_t kMaxIndexBytes = 64 << 20;

using Index = std::map<std::string, std::string>;  // tensor -> file name

absl::StatusOr<Index> ReadIndex(const std::string& path) {
  absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxIndexBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<nlohmann::json> json = ParseJsonObject(*text, path);
  if (!json.ok()) return json.status();
  const auto map = json->find("weight_map");
  if (map == json->end() || !map->is_object() || map->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": weight_map is missing or empty"));
  }
  Index index;
  for (const auto& [tensor, file] : map->items()) {
    const bool valid = file.is_string() &&
                       absl::EndsWith(file.get_ref<const std::string&>(), ".safetensors") &&
                       !absl::StrContains(file.get_ref<const std::string&>(), '/') &&
                       !absl::StrContains(file.get_ref<const std::string&>(), '\0');
    if (!valid) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": weight_map.", tensor, " must name a .safetensors file in the same directory"));
    }
    index[tensor] = file.get<std::string>();
  }
  return index;
}

}  // namespace

absl::StatusOr<WeightFiles> WeightFiles::Open(const std::string& directory) {
  const std::string index_path = absl::StrCat(directory, "/model.safetensors.index.json");
  std::set<std::string> names;
  absl::StatusOr<Index> index = ReadIndex(index_path);
  if (index.ok()) {
    for (const auto& [tensor, file] : *index) names.insert(file);
  } else if (absl::IsNotFound(index.status())) {
    names.insert("model.safetensors");
  } else {
    return index.status();
  }
  if (names.size() > static_cast<size_t>(kMaxShards)) {
    return absl::InvalidArgumentError(
        absl::StrCat(index_path, ": ", names.size(), " files; the limit is ", kMaxShards));
  }

  WeightFiles out;
  out.directory_ = directory;
  for (const std::string& name : names) {
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
        SafetensorsFile::Open(absl::StrCat(directory, "/", name));
    if (!file.ok()) return file.status();
    for (const auto& [tensor, entry] : (*file)->tensors()) {
      const auto [place, added] = out.tensors_.emplace(tensor, out.files_.size());
      if (!added) {
        return absl::InvalidArgumentError(absl::StrCat((*file)->path(), ": tensor ", tensor,
                                                       " is also in ",
                                                       out.files_[place->second]->path()));
      }
      if (index.ok()) {
        const auto listed = index->find(tensor);
        if (listed == index->end() || listed->second != name) {
          return absl::InvalidArgumentError(absl::StrCat((*file)->path(), ": tensor ", tensor,
                                                         " is not listed there by ", index_path));
        }
      }
    }
    out.files_.push_back(*std::move(file));
  }
  if (index.ok()) {
    for (const auto& [tensor, name] : *index) {
      if (!out.tensors_.contains(tensor)) {
        return absl::InvalidArgumentError(
            absl::StrCat(index_path, ": tensor ", tensor, " is not in ", directory, "/", name));
      }
    }
  }
  return out;
}

absl::StatusOr<WeightFiles::Place> WeightFiles::Find(const std::string& tensor) const {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) {
    return absl::NotFoundError(absl::StrCat(
        files_.size() == 1 ? files_.front()->path() : directory_, ": no tensor ", tensor));
  }
  const SafetensorsFile* file = files_[found->second].get();
  absl::StatusOr<TensorView> view = file->Find(tensor);
  if (!view.ok()) return view.status();
  return Place{file, *std::move(view)};
}

}  // namespace longleaf::model
