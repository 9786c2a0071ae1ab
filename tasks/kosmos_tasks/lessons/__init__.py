"""Generated training data of the bundled model."""
