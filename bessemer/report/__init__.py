"""What a run found, for people: one HTML file that opens offline, and a model card."""
