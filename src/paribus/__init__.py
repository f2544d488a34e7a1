"""paribus: all else equal."""
