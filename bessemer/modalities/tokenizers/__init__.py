"""Where a text column's tokenizer comes from: one way a file."""
