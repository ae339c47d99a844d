"""Figures of stations, skill and maps: data in, a matplotlib Figure out."""
