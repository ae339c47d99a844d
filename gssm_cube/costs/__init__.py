"""What a run costs, before and after: seconds, requests, bytes, accounts."""
