"""What a search over candidates decides by, and Optuna behind one small interface."""
