"""What lies on disk, and under which name."""
