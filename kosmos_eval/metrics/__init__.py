"""Scores of answers and their intervals, a module per kind of metric."""
