# Fuzzers of longleaf_tokenizer (model/tokenizer.cmake).
longleaf_fuzzer(prompt_file_fuzz SOURCES prompt_file_fuzz.cc DEPENDS longleaf_tokenizer
                CORPUS corpus/prompt_file)
longleaf_fuzzer(tokenizer_model_fuzz SOURCES tokenizer_model_fuzz.cc DEPENDS longleaf_tokenizer
                CORPUS ../golden/tokenizers)
longleaf_fuzzer(tokenizer_text_fuzz SOURCES tokenizer_text_fuzz.cc DEPENDS longleaf_tokenizer
                CORPUS corpus/tokenizer_text)
longleaf_fuzzer(incremental_decoder_fuzz SOURCES incremental_decoder_fuzz.cc
                DEPENDS longleaf_tokenizer CORPUS corpus/incremental_decoder)
foreach(name tokenizer_text_fuzz incremental_decoder_fuzz)
  target_compile_definitions(${name} PRIVATE LONGLEAF_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endforeach()
