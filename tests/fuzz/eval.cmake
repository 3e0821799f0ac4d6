# Files that longleaf-eval is given: kinds of facts, questions and answers.
longleaf_fuzzer(fact_catalogue_fuzz SOURCES fact_catalogue_fuzz.cc DEPENDS longleaf_facts
                CORPUS corpus/fact_catalogue)
longleaf_fuzzer(qa_line_fuzz SOURCES qa_line_fuzz.cc DEPENDS longleaf_scores CORPUS corpus/qa_line)
