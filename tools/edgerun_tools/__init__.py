"""The command line of edgerun and everything people run around it."""
