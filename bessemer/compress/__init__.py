"""Ways to make an exported graph smaller and faster. One kind a file."""
