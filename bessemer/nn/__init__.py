"""Network classes and blocks."""
