"""`edgerun serve`: models as a service."""
