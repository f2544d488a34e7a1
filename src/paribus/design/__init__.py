"""What a researcher writes: specs, arms, recipes, studies. Standard library and attrs alone."""
