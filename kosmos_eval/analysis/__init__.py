"""Read finished runs: compare, rank, export, set beside published numbers. Nothing here prints."""
