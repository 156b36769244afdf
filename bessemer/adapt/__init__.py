"""One way to change a network for training a file."""
