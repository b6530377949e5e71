"""`edgerun device`, and what is measured between two machines."""
