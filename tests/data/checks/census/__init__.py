"""For each rule, something that it speaks of, and something just beside that which it leaves alone."""
