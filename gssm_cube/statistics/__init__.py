"""Statistics that know nothing of soil: scores, intervals over stations, places on a sphere."""
