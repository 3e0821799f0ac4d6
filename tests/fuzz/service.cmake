# Fuzzers of the service: requests through a whole server, so few runs go a long way.
longleaf_fuzzer(request_fuzz SOURCES request_fuzz.cc hostile_message.cc served_channel.cc
                DEPENDS longleaf_service CORPUS corpus/request SECONDS 15
                FLAGS -detect_leaks=0) # but at the end: the server's threads hold and free at all times
target_compile_definitions(request_fuzz PRIVATE LONGLEAF_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
