"""Shared parts of tasks of one kind: text ranking, multiple choice, captioning, visual question answering."""
