"""Choose the demonstrations of few-shot prompts."""
