"""What builds and measures the models that the checks before training look at."""
