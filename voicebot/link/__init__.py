"""The protocol between edge and worker."""
