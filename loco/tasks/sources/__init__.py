"""Upstream files, wherever they come from: found locally or fetched from the hub, opened, and read row by row."""
