"""Handing a product on: what changed, what its places are, whom to cite, where it is listed."""
