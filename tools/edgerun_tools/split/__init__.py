"""`edgerun split`: a model as a head for the device and a tail for the server."""
