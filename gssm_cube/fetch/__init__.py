"""Files of the providers, fetched as they deliver them to where a run looks for them."""
