"""How rows are divided into training, validation and test: one way a file."""
