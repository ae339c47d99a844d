"""From station-days to the cube's codes at their pixels, and to Parquet."""
