# What the store reads back from its disk.
longleaf_fuzzer(store_records_fuzz SOURCES store_records_fuzz.cc DEPENDS longleaf_cache_store
                CORPUS corpus/store_records)
