"""Tasks in other people's formats: BEIR folders in and out, TREC and MTEB out."""
