"""Training data: lessons become documents, documents become batches."""
