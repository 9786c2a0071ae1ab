"""What tasks of one kind share: text ranking, multiple choice, captioning, visual question answering."""
