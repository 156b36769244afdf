"""What stands between a person and the stages: rehearsal, first recipe, health check, console."""
