"""Ask a model, score its answers, keep the run."""
