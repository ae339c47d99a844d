"""The parts of the command line: each a thin face of what it calls."""
