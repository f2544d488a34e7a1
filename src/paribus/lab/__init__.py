"""The verbs: what `paribus` does, a file each."""
