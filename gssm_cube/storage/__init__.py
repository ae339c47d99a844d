"""Where arrays and small files lie: on disk or at a URL, whole or not there, one writer each."""
