"""The device side of a split model: run the head, leave early where the input allows it, ask the server for the rest."""
