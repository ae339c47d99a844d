"""Soil moisture as stations measured it: ISMN archives and other tables, judged row by row."""
