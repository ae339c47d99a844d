"""Provider files as delivered: one module a source, each tells what is there and reads a part.

Values come back in the provider's own units and on its own grid, decoded and quality-checked;
``harmonise`` brings them to the project's grid, days and units.
"""
