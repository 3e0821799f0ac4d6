# The tests of longleaf_tokenizer (model/tokenizer.cmake). Two of them compare with sentencepiece's
# library as it comes.
foreach(name utf8 incremental_decoder stop_matcher prompt sentencepiece_model)
  longleaf_test(model_${name}_test SOURCES ${name}_test.cc DEPENDS longleaf_tokenizer)
endforeach()
foreach(name tokenizer streaming_tokenizer)
  longleaf_test(model_${name}_test SOURCES ${name}_test.cc sentencepiece_reference.cc
                DEPENDS longleaf_tokenizer longleaf::sentencepiece)
endforeach()
# The library's header cannot stand beside Abseil's, which the precompiled header brings.
set_source_files_properties(sentencepiece_reference.cc PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
