"""Measurements on small data: what chooses the library's defaults."""
