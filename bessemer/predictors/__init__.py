"""Ways to open a form of a model: raw rows in, probabilities out. One kind a file."""
