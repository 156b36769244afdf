"""One task a file: what is learned."""
