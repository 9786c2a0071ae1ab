"""Cleaning of training data at web scale, by the rules of KOSMOS-1 section 3.1, on datatrove's executors."""
