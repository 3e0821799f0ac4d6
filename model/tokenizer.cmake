# Tokenizer, text decoding and prompt: no part of it needs the kernels, so that the splitter and its
# fuzzers build in seconds. Included by model/CMakeLists.txt.
longleaf_library(longleaf_tokenizer
  SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/incremental_decoder.cc
    ${CMAKE_CURRENT_LIST_DIR}/prompt.cc
    ${CMAKE_CURRENT_LIST_DIR}/sentencepiece_encoder.cc
    ${CMAKE_CURRENT_LIST_DIR}/sentencepiece_model.cc
    ${CMAKE_CURRENT_LIST_DIR}/sentencepiece_normalizer.cc
    ${CMAKE_CURRENT_LIST_DIR}/stop_matcher.cc
    ${CMAKE_CURRENT_LIST_DIR}/streaming_tokenizer.cc
    ${CMAKE_CURRENT_LIST_DIR}/text_splitter.cc
    ${CMAKE_CURRENT_LIST_DIR}/tokenizer.cc
    ${CMAKE_CURRENT_LIST_DIR}/utf8.cc
  DEPENDS absl::flat_hash_map absl::flat_hash_set absl::status absl::statusor absl::strings
  PRIVATE_DEPENDS longleaf::sentencepiece nlohmann_json::nlohmann_json OpenSSL::Crypto
  COMPUTES)
# Its library's header cannot stand beside Abseil's, which the precompiled header brings.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/sentencepiece_encoder.cc PROPERTIES
  SKIP_PRECOMPILE_HEADERS ON)
