"""Ways to turn a trained network into a file that runs without torch, one kind a file; and the check that it answers the same."""
