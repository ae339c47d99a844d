"""How good an estimate is where its forest has not looked, and what it is held against."""
