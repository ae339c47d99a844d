"""Raw to daily, on the grid, in house units: pure functions on arrays in memory."""
