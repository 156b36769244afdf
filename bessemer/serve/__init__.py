"""A server of finished models."""
