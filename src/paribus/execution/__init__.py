"""A job done: in this process or in workers, to a record."""
