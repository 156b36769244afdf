"""What a form costs where it is served: its latency, its memory, its bytes."""
