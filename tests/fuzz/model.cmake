# Fuzzers of longleaf_model: what comes from a model directory or out of the store.
foreach(name checksums config safetensors_header state_codec)
  longleaf_fuzzer(${name}_fuzz SOURCES ${name}_fuzz.cc DEPENDS longleaf_model CORPUS corpus/${name})
endforeach()
longleaf_fuzzer(packed_weights_fuzz SOURCES packed_weights_fuzz.cc
                DEPENDS longleaf_model longleaf::xxhash CORPUS corpus/packed_weights)
