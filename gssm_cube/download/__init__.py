"""What a run gets from elsewhere: orders, requests, and files that are fetched at most once."""
